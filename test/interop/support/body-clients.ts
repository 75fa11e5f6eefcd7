import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { installed, ownGoProgram, type Part } from '../parts.ts';

export type Framing = 'length' | 'chunks';

export interface BodyClient {
  readonly name: string;
  readonly framings: readonly Framing[];
  /** Why it is not there. */
  readonly skip?: string;
  /** Sends a file with POST and resolves to the body of the answer; rejects when that is not a whole 200. */
  send(url: string, file: string, framing: Framing): Promise<Buffer>;
}

const run = promisify(execFile);
const maxBuffer = 128 * 1024 * 1024;
const both: readonly Framing[] = ['length', 'chunks'];

const curl = installed('curl');
const nghttp = installed('nghttp');
const python = installed('python3');
const go = await ownGoProgram(join(import.meta.dirname, 'go-client'));

/** Clients that nobody here wrote, but for a few lines around them. */
export const bodyClients: readonly BodyClient[] = [
  command('curl, HTTP/1.1', curl, (url, file, framing) => ['--http1.1', ...curlArguments(url, file, framing)]),
  command('curl, HTTP/1.1 that offers an upgrade to h2c', curl, (url, file, framing) => [
    '--http2',
    ...curlArguments(url, file, framing),
  ]),
  command('curl, HTTP/2', curl, (url, file, framing) => [
    '--http2-prior-knowledge',
    ...curlArguments(url, file, framing),
  ]),
  command('nghttp', nghttp, (url, file, framing) => [
    '--data',
    file,
    ...(framing === 'chunks' ? ['--no-content-length'] : []),
    url,
  ]),
  ...['urllib', 'http.client'].map((library) =>
    command(`Python's ${library}`, python, (url, file, framing) => [
      join(import.meta.dirname, 'python-client.py'),
      library,
      framing,
      url,
      file,
    ]),
  ),
  ...['http1', 'http2'].map((protocol) =>
    command(`Go's net/http, ${protocol}`, go, (url, file, framing) => [protocol, framing, url, file]),
  ),
  {
    name: "Node's fetch",
    framings: both,
    async send(url, file, framing) {
      const bytes = await readFile(file);
      const body = framing === 'length' ? bytes : ReadableStream.from(pieces(bytes));
      const response = await fetch(url, { method: 'POST', body, duplex: 'half' } as RequestInit);
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      return Buffer.from(await response.arrayBuffer());
    },
  },
  { name: "Node's http2", framings: both, send: sendHttp2 },
];

function command(
  name: string,
  part: Part,
  argumentsOf: (url: string, file: string, framing: Framing) => readonly string[],
): BodyClient {
  if ('skip' in part)
    return { name, framings: both, skip: part.skip, send: () => Promise.reject(new Error(part.skip)) };
  return {
    name,
    framings: both,
    async send(url, file, framing) {
      const options = { encoding: 'buffer', maxBuffer, timeout: 60_000 } as const;
      return (await run(part.path, [...argumentsOf(url, file, framing)], options)).stdout;
    },
  };
}

function curlArguments(url: string, file: string, framing: Framing): readonly string[] {
  const chunked = framing === 'chunks' ? ['--header', 'transfer-encoding: chunked'] : [];
  return ['--silent', '--show-error', '--fail', ...chunked, '--request', 'POST', '--data-binary', `@${file}`, url];
}

async function sendHttp2(url: string, file: string, framing: Framing): Promise<Buffer> {
  const bytes = await readFile(file);
  const session = connectHttp2(url);
  try {
    const length = framing === 'length' ? { 'content-length': bytes.length } : {};
    const stream = session.request({ ':method': 'POST', ':path': new URL(url).pathname, ...length });
    for (const piece of pieces(bytes)) stream.write(piece);
    stream.end();
    const status = new Promise<number | undefined>((resolve) =>
      stream.once('response', (fields) => resolve(fields[':status'])),
    );
    const body = await buffer(stream);
    if ((await status) !== 200) throw new Error(`status ${await status}`);
    return body;
  } finally {
    session.close();
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}
