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

/**
 * Builds a Go program at a fixed version, once. Without Go its tests are skipped and say so; `REQUIRE_PARTS=1` makes that a failure.
 * @throws when parts are required and this one cannot be had
 */
export function goProgram(module: string, version: string): Promise<Part> {
  const bin = join(directory, version);
  return built(module, async () => {
    await mkdir(bin, { recursive: true });
    await run('go', ['install', `${module}@${version}`], { env: { ...process.env, GOBIN: bin }, timeout: 300_000 });
    return join(bin, module.slice(module.lastIndexOf('/') + 1));
  });
}

/** Builds the Go program in a directory of this repository; its `go.sum`, where it has one, says what of. Like `goProgram` without Go. */
export function ownGoProgram(source: string): Promise<Part> {
  const path = join(directory, basename(source));
  return built(source, async () => {
    await mkdir(directory, { recursive: true });
    await run('go', ['build', '-o', path, '.'], { cwd: source, timeout: 300_000 });
    return path;
  });
}

async function built(name: string, build: () => Promise<string>): Promise<Part> {
  try {
    return { path: await build() };
  } catch (error) {
    return missing(`${name} cannot be built: ${messageOf(error).split('\n')[0]}`, error);
  }
}

function missing(skip: string, cause?: unknown): Part {
  if (process.env['REQUIRE_PARTS'] === '1') throw new Error(skip, { cause });
  return { skip };
}
