import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '#runtime/errors.ts';

const run = promisify(execFile);
/** Kept between runs, and never committed. */
const directory = join(import.meta.dirname, '../../.parts');

/** A program that nobody here wrote, or why it is not there. */
export type Part = { readonly path: string } | { readonly skip: string };

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

/** Builds the Go program of a directory beside this file; its `go.sum` says what of. */
export function ownGoProgram(name: string): Promise<Part> {
  const path = join(directory, name);
  return built(name, async () => {
    await mkdir(directory, { recursive: true });
    await run('go', ['build', '-o', path, '.'], { cwd: join(import.meta.dirname, name), timeout: 300_000 });
    return path;
  });
}

async function built(name: string, build: () => Promise<string>): Promise<Part> {
  try {
    return { path: await build() };
  } catch (error) {
    const skip = `${name} cannot be built: ${messageOf(error).split('\n')[0]}`;
    if (process.env['REQUIRE_PARTS'] === '1') throw new Error(skip, { cause: error });
    return { skip };
  }
}
