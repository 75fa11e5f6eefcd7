import { BodyDecoder } from '#wire/http1/body-decoder.ts';
import { defaultHttpLimits } from '#wire/limits.ts';
import { WireError } from '#wire/wire-error.ts';

/**
 * Decodes `bytes` as a chunked body, whole and byte by byte: both must come to the same end.
 * @throws whatever is not a WireError: a bug
 */
export function feedBody(bytes: Uint8Array): void {
  const whole = decode([Buffer.from(bytes)]);
  const cut = decode([...bytes].map((byte) => Buffer.of(byte)));
  if (whole !== cut) throw new Error(`a body depends on how it is cut: ${whole} or ${cut}`);
}

function decode(pieces: readonly Buffer[]): string {
  const decoder = new BodyDecoder(defaultHttpLimits);
  decoder.start('chunked', -1);
  let body = '';
  try {
    for (const piece of pieces) {
      for (let i = 0; i < piece.length && !decoder.isDone; ) {
        i = decoder.next(piece, i, piece.length);
        body += piece.toString('latin1', i - decoder.run, i);
      }
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return JSON.stringify([body, error.rule]);
  }
  return JSON.stringify([body, decoder.isDone, decoder.trailers]);
}
