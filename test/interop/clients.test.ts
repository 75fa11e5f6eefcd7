import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { eventually } from '../support/eventually.ts';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import type { SidecarProcess } from '../support/sidecar-process.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { installed } from './parts.ts';
import { type BodyApplication, bodyOf, startBodyApplication } from './support/body-application.ts';
import { bodyClients } from './support/body-clients.ts';
import { post } from './support/post.ts';

const mebibyte = 1024 * 1024;
const sizes = [0, 1, 1024, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, mebibyte];
const largeSize = 64 * mebibyte;

let application: BodyApplication;
let pair: SidecarPair;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

before(async () => {
  application = await startBodyApplication();
  directory = await temporaryDirectory();
  for (const size of [...sizes, largeSize]) await writeFile(fileOf(size), bodyOf(size));
  pair = await startSidecarPair({ applicationPort: application.port, protocol: 'http' });
  await post(pair.port, '/echo', bodyOf(1));
  for (const sidecar of [pair.caller, pair.callee]) {
    start.push({ sidecar, sockets: sidecar.sockets(), heapBytes: (await sidecar.heap()).bytes });
  }
});

after(async () => {
  await application?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

/** What they hold more than before they were given work: compiled code, buffers and connections that are kept for the next requests. */
const keptBytesMax = 12 * mebibyte;
const start: { readonly sidecar: SidecarProcess; readonly sockets: number; readonly heapBytes: number }[] = [];

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const fileOf = (size: number) => join(directory.path, String(size));
const urlOf = (path: string) => `http://127.0.0.1:${pair.port}${path}`;

for (const { name, skip, framings, send } of bodyClients) {
  describe(`${name} through two sidecars`, skip === undefined ? {} : { skip }, () => {
    for (const framing of framings) {
      test(`bodies of ${sizes.length} sizes with ${framing} come back as they were`, { timeout: 60_000 }, async () => {
        for (const size of sizes) {
          const body = await send(urlOf('/echo'), fileOf(size), framing);
          assert.deepEqual([body.length, sha256(body)], [size, sha256(bodyOf(size))]);
        }
      });

      test(`64 MiB with ${framing} come back as they were`, { timeout: 120_000 }, async () => {
        const body = await send(urlOf('/echo'), fileOf(largeSize), framing);
        assert.deepEqual([body.length, sha256(body)], [largeSize, sha256(bodyOf(largeSize))]);
      });

      test(`an application that reads and writes slowly gets and gives a mebibyte with ${framing}`, {
        timeout: 60_000,
      }, async () => {
        const body = await send(urlOf('/slow'), fileOf(mebibyte), framing);
        assert.deepEqual([body.length, sha256(body)], [mebibyte, sha256(bodyOf(mebibyte))]);
      });
    }
  });
}

const curl = installed('curl');
describe('a slow client through two sidecars', 'skip' in curl ? { skip: curl.skip } : {}, () => {
  for (const protocol of ['--http1.1', '--http2-prior-knowledge']) {
    test(`curl ${protocol} writes and reads a mebibyte in two seconds each`, { timeout: 60_000 }, async () => {
      assert.ok('path' in curl);
      const rate = ['--limit-rate', '512k', '--data-binary', `@${fileOf(mebibyte)}`];
      const args = ['--silent', '--show-error', '--fail', protocol, ...rate, urlOf('/echo')];
      const options = { encoding: 'buffer', maxBuffer: 2 * mebibyte, timeout: 30_000 } as const;
      const { stdout } = await promisify(execFile)(curl.path, args, options);
      assert.equal(sha256(stdout), sha256(bodyOf(mebibyte)));
    });
  }
});

describe('a WebSocket by ws through two sidecars', () => {
  for (const kind of ['whole', 'in fragments', 'deflated'] as const) {
    test(`messages ${kind} come back as they were`, { timeout: 60_000 }, async () => {
      const url = `ws://127.0.0.1:${pair.port}/socket`;
      const socket = new WebSocket(url, { perMessageDeflate: kind === 'deflated', maxPayload: largeSize });
      await once(socket, 'open');
      for (const size of [...sizes, largeSize]) {
        const message = bodyOf(size);
        const answered = once(socket, 'message');
        if (kind === 'in fragments') {
          const half = size >> 1;
          socket.send(message.subarray(0, half), { fin: false });
          socket.send(message.subarray(half), { fin: true });
        } else socket.send(message);
        const [answer, isBinary] = (await answered) as [Buffer, boolean];
        assert.deepEqual([answer.length, isBinary, sha256(answer)], [size, true, sha256(message)]);
      }
      const closed = once(socket, 'close');
      socket.close(4000, 'done');
      assert.equal((await closed)[0], 4000);
    });
  }
});

const h2load = installed('h2load');
describe('h2load through two sidecars', 'skip' in h2load ? { skip: h2load.skip } : {}, () => {
  for (const [protocol, count, size] of [
    ['h2c', 5_000, 1024],
    ['h2c', 200, mebibyte],
    ['http/1.1', 5_000, 1024],
  ] as const) {
    test(`${count} requests of ${size} bytes, ${protocol}: all succeed`, { timeout: 60_000 }, async () => {
      assert.ok('path' in h2load);
      const load = ['-n', String(count), '-c', '8', '-m', protocol === 'h2c' ? '10' : '1', '-p', protocol];
      const args = [...load, '-d', fileOf(size), urlOf('/echo')];
      const { stdout } = await promisify(execFile)(h2load.path, args, { timeout: 50_000 });
      assert.match(stdout, new RegExp(`${count} succeeded, 0 failed, 0 errored, 0 timeout`));
      const bytes = Number(/\((\d+)\) data$/m.exec(stdout)?.[1]);
      assert.equal(bytes, count * size, stdout);
    });
  }
});

const wrk = installed('wrk');
describe('wrk through two sidecars', 'skip' in wrk ? { skip: wrk.skip } : {}, () => {
  test('three seconds on 32 connections: no error', { timeout: 30_000 }, async () => {
    assert.ok('path' in wrk);
    const args = ['-t', '1', '-c', '32', '-d', '3s', urlOf('/echo')];
    const { stdout } = await promisify(execFile)(wrk.path, args, { timeout: 20_000 });
    assert.match(stdout, /\d+ requests in/);
    assert.doesNotMatch(stdout, /Socket errors|Non-2xx/);
  });
});

test('after all of that the sidecars are as they were: connections, memory', { timeout: 180_000 }, async (context) => {
  await eventually(() => assert.equal(application.open, 0));
  for (const { sidecar, sockets, heapBytes } of start) {
    await eventually(
      () => assert.ok(sidecar.sockets() <= sockets, `${sidecar.sockets()} sockets, ${sockets} before`),
      90_000,
    );
    await eventually(
      async () => {
        const kept = (await sidecar.heap()).bytes - heapBytes;
        context.diagnostic(`${(kept / mebibyte).toFixed(1)} MiB more than before`);
        assert.ok(kept < keptBytesMax, `${(kept / mebibyte).toFixed(1)} MiB more than before`);
      },
      60_000,
      1_000,
    );
  }
});
