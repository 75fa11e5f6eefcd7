import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../..');

export interface SourceFile {
  /** From the root of the repository: `src/certs/der.ts`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

export interface Import {
  /** The file of ours that is meant, from the root; undefined for a library. */
  readonly file: string | undefined;
  /** As it is written. */
  readonly specifier: string;
  readonly isTypeOnly: boolean;
  /** `await import(…)`, or the file of a thread: loaded when it is needed. */
  readonly isDynamic: boolean;
}

/** Every TypeScript file of ours below `directory`. */
export function sourceFiles(directory: string): SourceFile[] {
  return readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => readSourceFile(join(directory, name)));
}

export function isGenerated({ path }: SourceFile): boolean {
  return path.startsWith('src/api/generated/');
}

function readSourceFile(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  return { path, text, imports: [...importsOf(path, text)] };
}

const staticImport = /^(?:import|export)(\s+type)?\s(?:[^'";]*?\sfrom\s)?'([^']+)';/gm;
const threadFile = /\bnew URL\('([^']+\.ts)', import\.meta\.url\)/g;
const dynamicImport = /\bimport\('([^']+)'\)/g;

function* importsOf(path: string, text: string): Generator<Import> {
  for (const [, type, specifier] of text.matchAll(staticImport)) {
    yield { file: fileOf(path, specifier!), specifier: specifier!, isTypeOnly: type !== undefined, isDynamic: false };
  }
  const later = [...text.matchAll(dynamicImport), ...text.matchAll(threadFile)];
  for (const [, specifier] of later) {
    yield { file: fileOf(path, specifier!), specifier: specifier!, isTypeOnly: false, isDynamic: true };
  }
}

function fileOf(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('#')) return join('src', specifier.slice(1));
  if (specifier.startsWith('.')) return relative(root, resolve(root, dirname(path), specifier));
  return undefined;
}
