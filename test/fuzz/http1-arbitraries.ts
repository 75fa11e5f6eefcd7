import fc from 'fast-check';
import { interestingTexts } from './mutate.ts';

/** Bytes of messages as latin1 text, and where they are cut into reads. */
export interface Input {
  readonly text: string;
  readonly cuts: readonly number[];
}

const tokenCharacters = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
const token = fc.string({ unit: fc.constantFrom(...tokenCharacters), minLength: 1, maxLength: 12 });
const fieldName = fc.oneof(token, fc.constantFrom('Accept', 'Cookie', 'X-A', 'x-a', 'TE', 'Trailer', 'Via', 'Date'));
const character = (min: number, max: number) => fc.integer({ min, max }).map((code) => String.fromCharCode(code));
const value = fc.string({ unit: fc.oneof(character(0x20, 0x7e), fc.constant('\t')), maxLength: 30 });
const isFree = (name: string) =>
  !/^(host|content-length|transfer-encoding|connection|upgrade|expect|sec-websocket-.*|http2-settings)$/i.test(name);
const field = fc
  .tuple(fieldName.filter(isFree), fc.constantFrom('', ' ', '\t ', '  '), value, fc.constantFrom('', ' ', '\t'))
  .map(([name, before, text, after]) => `${name}:${before}${text}${after}\r\n`);
const fields = fc.array(field, { maxLength: 6 }).map((lines) => lines.join(''));
const body = fc
  .oneof(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 2_000 }))
  .map((bytes) => Buffer.from(bytes).toString('latin1'));
const path = fc
  .string({ unit: fc.constantFrom(..."abcXYZ019-._~!$&'()*+,;=:@%/?"), maxLength: 20 })
  .map((text) => `/${text}`);

const chunks = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 }),
  prefix: fc.constantFrom('', '0', '000'),
  isUpper: fc.boolean(),
  extension: fc.constantFrom('', ';a=b', ';a', ';a="b c"', '; a = b'),
  trailers: fc.constantFrom('', 'X-Sum: 1\r\n', 'x-a: b\r\nGrpc-Status: 0\r\n', 'Content-Length: 9\r\nx-b: c\r\n'),
});

type Chunks = typeof chunks extends fc.Arbitrary<infer T> ? T : never;

function inChunks(text: string, { sizes, prefix, isUpper, extension, trailers }: Chunks): string {
  let coded = '';
  for (let at = 0, k = 0; at < text.length; k++) {
    const chunk = text.slice(at, at + sizes[k % sizes.length]!);
    const size = chunk.length.toString(16);
    coded += `${prefix}${isUpper ? size.toUpperCase() : size}${extension}\r\n${chunk}\r\n`;
    at += chunk.length;
  }
  return `${coded}0${extension}\r\n${trailers}\r\n`;
}

const framed = fc
  .record({ body, chunks: fc.option(chunks) })
  .map(({ body: text, chunks: how }) =>
    how === null
      ? { line: `Content-Length: ${text.length}\r\n`, content: text }
      : { line: 'Transfer-Encoding: chunked\r\n', content: inChunks(text, how) },
  );

const target = fc.oneof(
  path,
  path.map((text) => `http://a${text}`),
);
const connection = fc.constantFrom(
  '',
  '',
  '',
  'Connection: keep-alive\r\n',
  'Connection: close\r\n',
  'Connection: x-a\r\n',
);

export const request = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH'),
    target,
    before: fields,
    connection,
    framed: fc.option(framed),
    after: fields,
  })
  .map(({ method, target: where, before, connection: option, framed: how, after }) => {
    const head = `${method} ${where} HTTP/1.1\r\n${before}Host: a\r\n${option}${how?.line ?? ''}${after}\r\n`;
    return head + (how?.content ?? '');
  });

export const response = fc
  .record({
    interim: fc.constantFrom('', '', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', 'HTTP/1.1 100 Continue\r\n\r\n'),
    version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
    status: fc.oneof(fc.constantFrom(200, 204, 304, 404), fc.integer({ min: 200, max: 599 })),
    reason: fc.constantFrom('OK', '', 'Not Found', 'a  b'),
    before: fields,
    connection,
    framed: fc.option(framed),
    after: fields,
  })
  .map(({ interim, version, status, reason, before, connection: option, framed: how, after }) => {
    const hasBody = status !== 204 && status !== 304;
    const line = hasBody ? (how?.line ?? '') : '';
    const head = `HTTP/${version} ${status} ${reason}\r\n${before}${option}${line}${after}\r\n`;
    return interim + head + (hasBody ? (how?.content ?? 'until the end') : '');
  });

/** And what is so in HTTP/1.1. */
const interesting = fc.constantFrom(
  ...interestingTexts,
  '\x0b',
  '+',
  '-',
  '_',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Content-Length: 3\r\n',
  'Content-Length: 0\r\n',
  'Host: b\r\n',
  'Expect: 100-continue\r\n',
  'Connection: close\r\n',
  'Upgrade: x\r\nConnection: upgrade\r\n',
  ' folded\r\n',
  'HTTP/1.0',
  '#',
  '"',
);

const change = fc.record({
  at: fc.nat(),
  /** At the beginning of a line, where most of what is read begins. */
  isAtLine: fc.boolean(),
  removes: fc.constantFrom(0, 0, 1, 2, 7),
  puts: fc.oneof(interesting, character(0, 255), fc.constant('')),
});

function changed(
  text: string,
  { at, isAtLine, removes, puts }: typeof change extends fc.Arbitrary<infer T> ? T : never,
) {
  const starts = [0, ...[...text.matchAll(/\r\n/g)].map(({ index }) => index + 2)];
  const from = isAtLine ? starts[at % starts.length]! : at % (text.length + 1);
  return text.slice(0, from) + puts + text.slice(from + removes);
}

/** Messages in a row, of which about half are as they should be, cut anywhere. */
export function input(message: fc.Arbitrary<string>, messagesMax: number): fc.Arbitrary<Input> {
  return fc
    .record({
      messages: fc.array(message, { minLength: 1, maxLength: messagesMax }),
      changes: fc.array(change, { maxLength: 2 }),
      cuts: fc.array(fc.nat(), { maxLength: 4 }),
    })
    .map(({ messages, changes, cuts }) => ({ text: changes.reduce(changed, messages.join('')), cuts }));
}

/** The reads that `cuts` make of the text. */
export function readsOf({ text, cuts }: Input): Buffer[] {
  const ends = [...cuts.map((at) => at % (text.length + 1)), text.length].sort((a, b) => a - b);
  const reads = ends.map((end, k) => Buffer.from(text.slice(ends[k - 1] ?? 0, end), 'latin1'));
  return reads.filter((read) => read.length > 0);
}
