import { open } from 'node:fs/promises';

/** Of bytes in a file. */
interface LineSpan {
  readonly from: number;
  readonly to: number;
}

const chunkBytes = 256 * 1024;
/** A record is smaller; what is longer is no line of ours, and must not fill our memory. */
const lineBytesMax = 64 * 1024;
const newline = 0x0a;

/**
 * The lines of a file, those of one piece of it together: as many at once as a chunk has, whatever the size of the file. What follows
 * the last newline is a line too. A file that is gone has none.
 * @throws Error of the system for a file that is there and cannot be read
 */
export async function* readLines(
  file: string,
  { from, to }: LineSpan,
): AsyncGenerator<readonly string[], void, undefined> {
  await using handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (handle === undefined) return;
  const chunk = Buffer.alloc(chunkBytes);
  let rest = Buffer.alloc(0);
  let isSkipping = false;
  for (let at = from; at < to; ) {
    const { bytesRead } = await handle.read(chunk, 0, Math.min(chunkBytes, to - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    const end = bytes.lastIndexOf(newline) + 1;
    const lines = bytes.toString('utf8', 0, Math.max(0, end - 1)).split('\n');
    // The first one is the end of a line whose beginning was too long to keep.
    if (end > 0 && isSkipping) lines.shift();
    isSkipping &&= end === 0;
    if (end > 0 && lines.length > 0) yield lines;
    rest = isSkipping ? Buffer.alloc(0) : bytes.subarray(end);
    if (rest.length > lineBytesMax) {
      rest = Buffer.alloc(0);
      isSkipping = true;
    }
  }
  if (rest.length > 0) yield [rest.toString('utf8')];
}
