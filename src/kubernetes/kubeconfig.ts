import { isAbsolute, join } from 'node:path';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type Node, readYaml } from '#runtime/yaml-document.ts';

/** What is written out, or the file in which it lies and is read anew from each time. */
export type Material<T = string> = { readonly value: T } | { readonly file: string };

/** An API server, and who we are towards it. */
export interface ClusterAccess {
  /** With https, without a trailing slash in its path. */
  readonly server: URL;
  /** PEM; absent: the system's authorities. */
  readonly authority?: Material;
  /** The name that the server's certificate must have, where it is not the host of `server`. */
  readonly serverName?: string;
  readonly certificate?: { readonly chain: Material; readonly key: Material<Secret<string>> };
  readonly token?: Material<Secret<string>>;
}

/** How else others let themselves be authenticated, and why we do not. */
const refusedUserFields: Readonly<Record<string, string>> = {
  exec: 'it runs a program (`exec`), and a server starts no programs of others: use a token or a client certificate',
  'auth-provider': '`auth-provider` was removed from Kubernetes: use a token or a client certificate',
  username: 'passwords were removed from Kubernetes: use a token or a client certificate',
  password: 'passwords were removed from Kubernetes: use a token or a client certificate',
  as: 'impersonation is not supported: use the credentials of whoever is meant',
};
const base64Pattern = /^[A-Za-z0-9+/\s]+={0,2}\s*$/;
/** RFC 6750 2.1. What is no token must not get into a header. */
const tokenPattern = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * Reads a context of a kubeconfig file: one cluster, and one user by token or client certificate.
 * @param file its path: where problems are, and what relative paths in it begin at is `directory`
 * @param contextName without it the current one
 * @throws CellmeshError `config_invalid`, or `document_invalid` for what is not YAML
 */
export function parseKubeconfig(text: string, file: string, directory: string, contextName?: string): ClusterAccess {
  const [document, ...others] = readYaml(text, file);
  if (document?.kind !== 'map' || others.length > 0) throw invalid(file, 'one map is expected');
  const reader = new Reader(file, directory);
  const context = reader.named(
    document,
    'context',
    contextName ?? reader.text(document, 'current-context', 'the file'),
  );
  const cluster = reader.named(document, 'cluster', reader.text(context, 'cluster', 'the current context'));
  const user = reader.named(document, 'user', reader.text(context, 'user', 'the current context'));
  return { ...clusterOf(reader, cluster), ...userOf(reader, user) };
}

/** Whether a text can be a bearer token. */
export function isBearerToken(text: string): boolean {
  return tokenPattern.test(text);
}

function clusterOf(reader: Reader, cluster: Node): Pick<ClusterAccess, 'server' | 'authority' | 'serverName'> {
  if (reader.field(cluster, 'insecure-skip-tls-verify') === true)
    throw reader.invalid('`insecure-skip-tls-verify` is refused: name the authority in `certificate-authority`');
  if (reader.field(cluster, 'proxy-url') !== undefined) throw reader.invalid('`proxy-url` is not supported');
  const authority = reader.material(cluster, 'certificate-authority');
  const serverName = reader.optionalText(cluster, 'tls-server-name');
  return {
    server: reader.server(reader.text(cluster, 'server', 'the cluster')),
    ...(authority !== undefined && { authority }),
    ...(serverName !== undefined && { serverName }),
  };
}

function userOf(reader: Reader, user: Node): Pick<ClusterAccess, 'certificate' | 'token'> {
  for (const [name, reason] of Object.entries(refusedUserFields)) {
    if (reader.has(user, name)) throw reader.invalid(`the user of the current context cannot be used: ${reason}`);
  }
  const chain = reader.material(user, 'client-certificate');
  const key = reader.material(user, 'client-key');
  if ((chain === undefined) !== (key === undefined))
    throw reader.invalid('`client-certificate` and `client-key` belong together; one of them is missing');
  const token = reader.token(user);
  if (chain === undefined && token === undefined)
    throw reader.invalid('the user of the current context has neither a token nor a client certificate');
  return {
    ...(chain !== undefined && key !== undefined && { certificate: { chain, key: secretOf(key) } }),
    ...(token !== undefined && { token }),
  };
}

function secretOf(material: Material): Material<Secret<string>> {
  return 'value' in material ? { value: new Secret(material.value) } : material;
}

/** Fields by name, of the kind that is expected; what else a file holds is other programs'. */
class Reader {
  readonly #file: string;
  readonly #directory: string;

  constructor(file: string, directory: string) {
    this.#file = file;
    this.#directory = directory;
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

  /** `{ contexts: [{ name, context: {...} }] }`, and so on: the inner map of the entry with this name. */
  named(document: Node, kind: string, name: string): Node {
    const list = document.kind === 'map' ? document.entries.get(`${kind}s`)?.value : undefined;
    const items = list?.kind === 'list' ? list.items : [];
    const found = items.find((item) => item.kind === 'map' && this.optionalText(item, 'name') === name);
    const inner = found?.kind === 'map' ? found.entries.get(kind)?.value : undefined;
    if (inner?.kind !== 'map') throw this.invalid(`there is no ${kind} \`${name.slice(0, 64)}\``);
    return inner;
  }

  /** `name-data`, base64 of PEM, wins over `name`, a path. */
  material(map: Node, name: string): Material | undefined {
    const data = this.optionalText(map, `${name}-data`);
    const path = this.optionalText(map, name);
    if (data === undefined) return path === undefined ? undefined : this.#path(path);
    const value = base64Pattern.test(data) ? Buffer.from(data, 'base64').toString('utf8') : '';
    if (!value.includes('-----BEGIN ')) throw this.invalid(`\`${name}-data\` is not the base64 of PEM`);
    return { value };
  }

  /** As kubectl does: the file wins. */
  token(user: Node): Material<Secret<string>> | undefined {
    const file = this.optionalText(user, 'tokenFile');
    if (file !== undefined) return this.#path(file);
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

  invalid(reason: string): CellmeshError {
    return invalid(this.#file, reason);
  }

  #path(path: string): { readonly file: string } {
    return { file: isAbsolute(path) ? path : join(this.#directory, path) };
  }
}

function invalid(file: string, reason: string): CellmeshError {
  return new CellmeshError('config_invalid', `${file}: ${reason}`);
}
