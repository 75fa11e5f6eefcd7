import fc from 'fast-check';
import { block, frame, preface, settings, uint32 } from '../wire/support/http2-frames.ts';

type Fields = readonly (readonly [name: string, value: string])[];

const flags = { endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

const nameCharacters = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyz_";
const isFree = (name: string) =>
  !/^(host|content-length|transfer-encoding|connection|upgrade|expect|te|keep-alive|proxy-connection)$/.test(name);
const name = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(...nameCharacters), minLength: 1, maxLength: 12 }),
    fc.constantFrom('accept', 'cookie', 'x-a', 'trailer', 'via'),
  )
  .filter(isFree);
const character = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code));
const value = fc.string({ unit: character, maxLength: 40 }).map((text) => text.trim());
const fields = fc.array(fc.tuple(name, value), { maxLength: 5 });
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const path = fc
  .string({ unit: fc.constantFrom(..."abcXYZ019-._~!$&'()*+,;=:@%/?"), maxLength: 20 })
  .map((text) => `/${text}`);

/** What may be wrong in a head without being wrong in its frames. */
const oddField = fc.constantFrom<readonly [string, string]>(
  ['content-length', '3'],
  ['content-length', '0'],
  ['host', 'b'],
  ['host', 'a'],
  ['te', 'trailers'],
  ['te', 'gzip'],
  ['connection', 'close'],
  ['transfer-encoding', 'chunked'],
  ['Upper', 'x'],
  ['', 'x'],
  ['x y', 'z'],
  ['x', ' z'],
  ['x', 'z\r\ny: 1'],
  ['x', 'a\0b'],
  ['x', '\xe4'],
  [':path', '/second'],
  [':unknown', 'x'],
  [':status', '200'],
  ['expect', '100-continue'],
);

/** How a message is laid into frames. */
const layout = fc.record({
  /** Where the header block is cut into HEADERS and CONTINUATION. */
  cut: fc.option(fc.nat()),
  padding: fc.constantFrom(0, 0, 1, 20),
  hasPriority: fc.boolean(),
  pieces: fc.array(bytes, { maxLength: 3 }),
  dataPadding: fc.constantFrom(0, 0, 3),
  trailers: fc.option(fields),
});
type Layout = typeof layout extends fc.Arbitrary<infer T> ? T : never;

function framesOf(stream: number, head: Fields, { cut, padding, hasPriority, pieces, dataPadding, trailers }: Layout) {
  const hasMore = pieces.length > 0 || trailers !== null;
  const whole = block(...head);
  const end = cut === null ? whole.length : cut % (whole.length + 1);
  const before = [
    ...(padding > 0 ? [Buffer.from([padding])] : []),
    ...(hasPriority ? [uint32(0), Buffer.from([15])] : []),
  ];
  const frames = [
    frame(
      'HEADERS',
      (hasMore ? 0 : flags.endStream) |
        (cut === null ? flags.endHeaders : 0) |
        (padding > 0 ? flags.padded : 0) |
        (hasPriority ? flags.priority : 0),
      stream,
      Buffer.concat([...before, whole.subarray(0, end), Buffer.alloc(padding)]),
    ),
  ];
  if (cut !== null) frames.push(frame('CONTINUATION', flags.endHeaders, stream, whole.subarray(end)));
  pieces.forEach((piece, k) => {
    const isLast = k === pieces.length - 1 && trailers === null;
    const padded = dataPadding > 0;
    const payload = padded ? Buffer.concat([Buffer.from([dataPadding]), piece, Buffer.alloc(dataPadding)]) : piece;
    frames.push(frame('DATA', (isLast ? flags.endStream : 0) | (padded ? flags.padded : 0), stream, payload));
  });
  if (trailers !== null) frames.push(frame('HEADERS', flags.endHeaders | flags.endStream, stream, block(...trailers)));
  return Buffer.concat(frames);
}

const odd = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.array(oddField, { minLength: 1, maxLength: 2 }) },
);

const request = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'X-METHOD'),
  path,
  fields,
  odd,
  layout,
});

const response = fc.record({
  interim: fc.constantFrom(undefined, undefined, '103', '100'),
  status: fc.oneof(fc.constantFrom('200', '204', '304', '404'), fc.integer({ min: 200, max: 599 }).map(String)),
  fields,
  odd,
  layout,
});

const control = fc.constantFrom(
  frame('PING', 0, 0, '12345678'),
  frame('WINDOW_UPDATE', 0, 0, uint32(9)),
  frame('PRIORITY', 0, 9, 'abcde'),
  frame('UNKNOWN' as never, 0, 0, 'x'),
  settings([3, 100]),
  Buffer.alloc(0),
);

/** Bytes that are put in the place of others; most of all, the message is as it was. */
const change = fc.record({ at: fc.nat(), removes: fc.constantFrom(0, 1, 1, 9), puts: fc.uint8Array({ maxLength: 2 }) });
const changes = fc.array(change, { maxLength: 2 });
const cuts = fc.array(fc.nat(), { maxLength: 4 });

function changed(whole: Buffer, { at, removes, puts }: { at: number; removes: number; puts: Uint8Array }): Buffer {
  const from = at % (whole.length + 1);
  return Buffer.concat([whole.subarray(0, from), puts, whole.subarray(from + removes)]);
}

/** Types of SETTINGS and PING. */
const acknowledged: ReadonlySet<number | undefined> = new Set([4, 6]);

/** Cut at each frame, so that what is whole has been read before something wrong comes, and wherever `at` says. */
function readsOf(before: string, frames: Buffer, at: readonly number[]): Buffer[] {
  const ends = at.map((index) => index % (frames.length + 1));
  for (let end = 0; end < frames.length; ) {
    ends.push(end);
    // An ACK that nobody waits for ends Node's connection; RFC 9113 6.5.3 and 6.7 do not speak of it, and we read over it.
    if (acknowledged.has(frames[end + 3])) frames[end + 4]! &= ~1;
    end += end + 9 <= frames.length ? 9 + frames.readUIntBE(end, 3) : frames.length;
  }
  ends.push(frames.length);
  ends.sort((x, y) => x - y);
  const reads = ends.map((end, k) => frames.subarray(ends[k - 1] ?? 0, end));
  return [Buffer.from(before), ...reads].filter((read) => read.length > 0);
}

/** What a client says on a connection: one to three requests, as reads of the server. */
export const clientReads: fc.Arbitrary<Buffer[]> = fc
  .record({ requests: fc.array(fc.tuple(request, control), { minLength: 1, maxLength: 3 }), changes, cuts })
  .map(({ requests, changes: how, cuts: at }) => {
    const said = requests.map(([one, between], k) => {
      const pseudo: Fields = [
        [':method', one.method],
        [':scheme', 'http'],
        [':path', one.path],
        [':authority', 'a'],
      ];
      const head = [...pseudo, ...one.fields, ...one.odd];
      return Buffer.concat([framesOf(2 * k + 1, head, one.layout), between]);
    });
    const frames = how.reduce(changed, Buffer.concat([settings(), ...said]));
    return readsOf(preface, frames, at);
  });

/** What a server says on a connection with one request, as reads of the client. */
export const serverReads: fc.Arbitrary<Buffer[]> = fc
  .record({ response, control, changes, cuts })
  .map(({ response: one, control: between, changes: how, cuts: at }) => {
    const interim =
      one.interim === undefined ? [] : [frame('HEADERS', flags.endHeaders, 1, block([':status', one.interim]))];
    const head: Fields = [[':status', one.status], ...one.fields, ...one.odd];
    const hasBody = one.status !== '204' && one.status !== '304';
    const rest = framesOf(1, head, hasBody ? one.layout : { ...one.layout, pieces: [], trailers: null });
    return readsOf('', how.reduce(changed, Buffer.concat([settings(), between, ...interim, rest])), at);
  });
