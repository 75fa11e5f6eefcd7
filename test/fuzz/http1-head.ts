import { fieldSet } from '#wire/field-names.ts';
import { HeldBytes, readHeadOf } from '#wire/http1/held-bytes.ts';
import { readRequestHead } from '#wire/http1/request-head.ts';
import { readResponseHead } from '#wire/http1/response-head.ts';
import { defaultHttpLimits } from '#wire/limits.ts';
import type { Fields } from '#wire/message.ts';
import { WireError } from '#wire/wire-error.ts';

const none = fieldSet();
const cleanLine = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e]*$/;

/**
 * Reads `bytes` as a request head and as a response head. What is accepted must consist of clean lines.
 * @throws whatever is not a WireError: a bug
 */
export function feedHead(bytes: Uint8Array): void {
  const { headBytesMax } = defaultHttpLimits;
  const readers: readonly ((length: number) => (Fields & { readonly byteLength: number }) | undefined)[] = [
    (length: number) => readRequestHead(length, defaultHttpLimits),
    (length: number) => readResponseHead(length, defaultHttpLimits, 'GET'),
  ];
  for (const read of readers) {
    const held = new HeldBytes();
    held.append(Buffer.from(bytes));
    try {
      const head = readHeadOf(held, headBytesMax, read);
      if (head === undefined) continue;
      if (head.byteLength > bytes.length) throw new Error('a head is longer than the bytes it came from');
      for (const line of head.linesExcept(none).split('\r\n').slice(0, -1)) {
        if (!cleanLine.test(line)) throw new Error(`an unclean line was accepted: ${JSON.stringify(line)}`);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }
}
