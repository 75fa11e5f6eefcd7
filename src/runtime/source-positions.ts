import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `file:///…/dist/chunk-ABC.js:12:34`, as V8 writes a place. */
const place = /file:\/\/[^\s()]+\.js:\d+:\d+/g;

/**
 * A stack trace with the lines of the source, where the code was built and its maps lie beside it; otherwise as it is. Maps are read when somebody
 * is shown a trace, and forgotten: Node's own `--enable-source-maps` reads them all at the start, which takes a quarter as long as the start itself.
 */
export function withSourcePositions(stack: string): string {
  const maps = new Map<string, SourceMap | undefined>();
  return stack.replace(place, (text) => {
    const [, url, line, column] = /^(.*):(\d+):(\d+)$/.exec(text)!;
    const path = fileURLToPath(url!);
    if (!maps.has(path)) maps.set(path, readMap(`${path}.map`));
    // Both count from one, as a stack trace does.
    const origin = maps.get(path)?.findOrigin(Number(line), Number(column));
    if (origin === undefined || !('fileName' in origin)) return text;
    return `${sourceName(dirname(path), origin.fileName)}:${origin.lineNumber}:${origin.columnNumber}`;
  });
}

function readMap(path: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** `src/sidecar/drain.ts`: from the directory above the built one. */
function sourceName(directory: string, file: string): string {
  return relative(dirname(directory), resolve(directory, file));
}
