import { isAbsolute, join } from 'node:path';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type Node, readYaml } from '#runtime/yaml-document.ts';

/** What is written out, or the file in which it lies and is read anew from each time. */
export type Material<T = string> = { readonly value: T } | { readonly file: string };

/** Where a kubeconfig was read from. */
export interface KubeconfigFile {
  readonly text: string;
  /** Its path: where problems are. */
  readonly name: string;
  /** What relative paths in it begin at. */
  readonly directory: string;
}

const base64Pattern = /^[A-Za-z0-9+/\s]+={0,2}\s*$/;
/** RFC 6750 2.1. What is no token must not get into a header. */
const tokenPattern = /^[A-Za-z0-9._~+/-]+=*$/;

/** Whether a text can be a bearer token. */
export function isBearerToken(text: string): boolean {
  return tokenPattern.test(text);
}

/** Fields by name, of the kind that is expected; what else a file holds is other programs'. What is null or empty is not there. */
export class KubeconfigReader {
  readonly document: Node;
  readonly #name: string;
  readonly #directory: string;

  /** @throws CellmeshError `config_invalid`, or `document_invalid` for what is not YAML */
  constructor({ text, name, directory }: KubeconfigFile) {
    this.#name = name;
    this.#directory = directory;
    const [document, ...others] = readYaml(text, name);
    if (document?.kind !== 'map' || others.length > 0) throw this.invalid('one map is expected');
    this.document = document;
  }

  has(map: Node, name: string): boolean {
    const entry = map.kind === 'map' ? map.entries.get(name)?.value : undefined;
    return entry !== undefined && !(entry.kind === 'scalar' && (entry.value === null || entry.value === ''));
  }

  field(map: Node, name: string): string | number | boolean | undefined {
    if (!this.has(map, name) || map.kind !== 'map') return undefined;
    const { value } = map.entries.get(name)!;
    if (value.kind !== 'scalar') throw this.invalid(`\`${name}\` must be a single value`);
    return value.value ?? undefined;
  }

  optionalText(map: Node, name: string): string | undefined {
    const value = this.field(map, name);
    if (value !== undefined && typeof value !== 'string') throw this.invalid(`\`${name}\` must be text`);
    return value;
  }

  text(map: Node, name: string, of: string): string {
    const value = this.optionalText(map, name);
    if (value === undefined) throw this.invalid(`${of} has no \`${name}\``);
    return value;
  }

  map(of: Node, name: string): Node | undefined {
    if (!this.has(of, name) || of.kind !== 'map') return undefined;
    const { value } = of.entries.get(name)!;
    if (value.kind !== 'map') throw this.invalid(`\`${name}\` must be a map`);
    return value;
  }

  list(of: Node, name: string): readonly Node[] {
    if (!this.has(of, name) || of.kind !== 'map') return [];
    const { value } = of.entries.get(name)!;
    if (value.kind !== 'list') throw this.invalid(`\`${name}\` must be a list`);
    return value.items;
  }

  /** `{ contexts: [{ name, context: {...} }] }`, and so on: the inner map of the entry with this name. */
  named(kind: string, name: string): Node | undefined {
    const list = this.document.kind === 'map' ? this.document.entries.get(`${kind}s`)?.value : undefined;
    const items = list?.kind === 'list' ? list.items : [];
    const found = items.find((item) => item.kind === 'map' && this.optionalText(item, 'name') === name);
    const inner = found?.kind === 'map' ? found.entries.get(kind)?.value : undefined;
    return inner?.kind === 'map' ? inner : undefined;
  }

  /** `name-data`, base64 of PEM, wins over `name`, a path. */
  material(map: Node, name: string): Material | undefined {
    const data = this.optionalText(map, `${name}-data`);
    const path = this.optionalText(map, name);
    if (data === undefined) return path === undefined ? undefined : { file: this.path(path) };
    const value = base64Pattern.test(data) ? Buffer.from(data, 'base64').toString('utf8') : '';
    if (!value.includes('-----BEGIN ')) throw this.invalid(`\`${name}-data\` is not the base64 of PEM`);
    return { value };
  }

  /** As kubectl does: the file wins. */
  token(user: Node): Material<Secret<string>> | undefined {
    const file = this.optionalText(user, 'tokenFile');
    if (file !== undefined) return { file: this.path(file) };
    const text = this.optionalText(user, 'token');
    if (text === undefined) return undefined;
    if (!isBearerToken(text)) throw this.invalid('`token` is not a bearer token');
    return { value: new Secret(text) };
  }

  server(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || url.protocol !== 'https:' || url.username !== '' || url.search !== '' || url.hash !== '')
      throw this.invalid('`server` must be an https URL without user, query and fragment');
    url.pathname = url.pathname.replace(/\/+$/, '');
    return url;
  }

  path(path: string): string {
    return isAbsolute(path) ? path : join(this.#directory, path);
  }

  invalid(reason: string): CellmeshError {
    return new CellmeshError('config_invalid', `${this.#name}: ${reason}`);
  }
}
