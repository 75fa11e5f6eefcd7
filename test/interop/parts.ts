import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '#runtime/errors.ts';

const run = promisify(execFile);
/** Kept between runs, and never committed. */
const directory = join(import.meta.dirname, '../../.parts');

/** A program that nobody here wrote, or why it is not there. */
export type Part = { readonly path: string } | { readonly skip: string };

/** A program that the machine has in its PATH; `.ci/run` installs what is asked for here. Like `goProgram` where it has not. */
export function installed(name: string): Part {
  for (const path of (process.env['PATH'] ?? '').split(delimiter).map((place) => join(place, name))) {
    if (existsSync(path)) return { path };
  }
  return missing(`${name} is not installed`);
}

/** Builds the Go program in a directory of this repository, from Go's own library alone. Like `goProgram` without Go. */
export async function ownGoProgram(source: string): Promise<Part> {
  const path = join(directory, basename(source));
  try {
    await mkdir(directory, { recursive: true });
    await run('go', ['build', '-o', path, 'main.go'], { cwd: source, timeout: 300_000 });
    return { path };
  } catch (error) {
    return missing(`${source} cannot be built: ${messageOf(error).split('\n')[0]}`, error);
  }
}

/**
 * Builds a Go program at a fixed version, once. Without Go its tests are skipped and say so; `REQUIRE_PARTS=1` makes that a failure.
 * @throws when parts are required and this one cannot be had
 */
export async function goProgram(module: string, version: string): Promise<Part> {
  const bin = join(directory, version);
  const path = join(bin, module.slice(module.lastIndexOf('/') + 1));
  try {
    await mkdir(bin, { recursive: true });
    await run('go', ['install', `${module}@${version}`], { env: { ...process.env, GOBIN: bin }, timeout: 300_000 });
    return { path };
  } catch (error) {
    return missing(`${module} cannot be built: ${messageOf(error).split('\n')[0]}`, error);
  }
}

function missing(skip: string, cause?: unknown): Part {
  if (process.env['REQUIRE_PARTS'] === '1') throw new Error(skip, { cause });
  return { skip };
}
