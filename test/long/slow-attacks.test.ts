import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import http2 from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type HeldMemory, memoryAfterCollection, type OpenInProcess, openIn } from '../support/inspected-process.ts';
import { type Load, startLoad } from '../support/load.ts';
import { type LoadPair, startLoadPair } from '../support/load-pair.ts';
import { MeshClient } from '../support/mesh-client.ts';
import { attacks, bigBytes, slackMs, slowSettings, writeStallMs } from '../support/slow-attacks.ts';
import { beSlow, type Face, facesOf, type SlowEnd } from '../support/slow-peers.ts';

/** Connections of each attack at each face. */
const count = 6;
/** For how long one may last; of 256 that are open the slowest gives way (`net/accept.ts`). */
const handshakeMs = 10_000;
const handshakesBegun = 450;
/** A sidecar begins to count when a connection opens, we when all of an attack have. */
const earlyMs = 1_000;
/** By then the slow readers have all that they get, and the handshakes are under way. */
const meanwhileMs = 12_000;
/** What all of it may cost a sidecar while it lasts, in megabytes: 130 connections and 256 handshakes, of which 40 hold all they can. */
const costMax = 60;

const windowCodes: readonly (number | undefined)[] = [
  http2.constants.NGHTTP2_CANCEL,
  http2.constants.NGHTTP2_INTERNAL_ERROR,
];

type Ends<T> = Promise<readonly PromiseSettledResult<T>[]>;

let application: Server;
let pair: LoadPair;
let faces: readonly Face[];
let mesh: MeshClient;
let loads: readonly Load[];
let heldBefore: readonly HeldMemory[];
let heldMeanwhile: Promise<readonly HeldMemory[]>;
let openBefore: readonly OpenInProcess[];
const ends = new Map<string, Ends<SlowEnd>>();
const windows = new Map<Face['name'], Ends<number>>();
let handshakes: Ends<number>;

const sidecars = () => [pair.caller, pair.callee];

/** Other clients: the caller's application, a peer that is connected already, and one that connects each time. */
const others = {
  'the application': () =>
    callHttp({
      port: pair.caller.outbound,
      authority: 'callee',
      path: '/bytes/1000',
      headers: { 'cellmesh-as': 'self' },
    }),
  'a peer': () => mesh.call({ method: 'GET', path: '/bytes/1000', headers: { host: 'callee' } }),
  'a peer that connects anew': async () => {
    const socket = await faces[0]!.dial('http/1.1');
    try {
      return await callHttp({ socket, authority: 'callee', path: '/bytes/1000' });
    } finally {
      socket.destroy();
    }
  },
} as const;

before(async () => {
  application = await startApplication();
  const { port } = application.address() as AddressInfo;
  pair = await startLoadPair({
    callerPort: port,
    calleePorts: [{ port, protocol: 'http' }],
    allow: ['{ name: all, from: [load/caller], account: none, http: { paths: ["/**"] } }'],
    flags: { ...slowSettings, settle: '100ms', drain: '1s' },
  });
  faces = facesOf(pair);
  mesh = new MeshClient({ identity: pair.peer, expect: pair.callee.id, port: () => pair.callee.inbound });
  for (const send of Object.values(others)) for (let i = 0; i < 200; i++) await send();
  heldBefore = await Promise.all(sidecars().map(memoryAfterCollection));
  openBefore = await Promise.all(sidecars().map(openIn));

  loads = Object.values(others).map((send) => startLoad({ perSecond: 4, send }));
  for (const face of faces) {
    for (const { what, protocol, plan, closesAfterMs } of attacks) {
      const sockets = await Promise.all(Array.from({ length: count }, () => face.dial(protocol)));
      const begun = sockets.map((socket) => beSlow(socket, plan, closesAfterMs + slackMs));
      ends.set(`${face.name}: ${what}`, Promise.allSettled(begun));
    }
    windows.set(face.name, openNoWindow(await face.dial('h2')));
  }
  handshakes = openHandshakes(pair.callee.inbound);
  heldMeanwhile = delay(meanwhileMs).then(() => Promise.all(sidecars().map(memoryAfterCollection)));
});

after(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
  application?.closeAllConnections();
  application?.close();
});

describe('slow on purpose, all at once, at a pair of sidecars', { timeout: 150_000 }, () => {
  for (const face of ['inbound', 'outbound'] as const) {
    for (const { what, closesAfterMs, hears } of attacks) {
      test(`${face}: ${what} ends in its time`, async () => {
        for (const { closedAfterMs, heard, heardBytes } of valuesOf(await ends.get(`${face}: ${what}`)!, count)) {
          assert.ok(closedAfterMs > closesAfterMs - earlyMs, `closed after ${closedAfterMs} ms; heard ${heard}`);
          assert.ok(closedAfterMs < closesAfterMs + slackMs, `closed after ${closedAfterMs} ms`);
          if (hears !== undefined) assert.match(heard, hears);
          assert.ok(heardBytes < bigBytes / 2, `${heardBytes} bytes came`);
        }
      });
    }

    test(`${face}: windows of zero cost their streams, not the connection`, async () => {
      for (const resetAfterMs of valuesOf(await windows.get(face)!, count)) {
        assert.ok(Math.abs(resetAfterMs - writeStallMs) < slackMs, `reset after ${resetAfterMs} ms`);
      }
    });
  }

  test('inbound: handshakes that do not go on end in their time', async () => {
    for (const closedAfterMs of valuesOf(await handshakes, handshakesBegun)) {
      assert.ok(closedAfterMs < handshakeMs + slackMs, `closed after ${closedAfterMs} ms`);
    }
  });

  test('memory stays bounded meanwhile', async () => {
    for (const [i, { residentMegabytes, heapMegabytes, externalMegabytes }] of (await heldMeanwhile).entries()) {
      const before = heldBefore[i]!;
      const held = heapMegabytes + externalMegabytes - before.heapMegabytes - before.externalMegabytes;
      assert.ok(held < costMax, `${held} MB in heap and buffers`);
      assert.ok(residentMegabytes - before.residentMegabytes < costMax, `${residentMegabytes} MB resident`);
    }
  });

  test('and when it is over, other clients have seen nothing of it, and nothing is left behind', async () => {
    for (const [i, who] of Object.keys(others).entries()) {
      const { sent, succeeded, failures } = await loads[i]!.stop();
      assert.deepEqual(failures.slice(0, 3), [], `${failures.length} of ${sent} requests of ${who}`);
      assert.ok(succeeded > 100, `${succeeded} requests of ${who}`);
    }
    await eventually(
      async () => {
        const open = await Promise.all(sidecars().map(openIn));
        for (const [i, { descriptors, streams }] of open.entries()) {
          assert.ok(
            descriptors <= openBefore[i]!.descriptors,
            `${descriptors} descriptors, ${openBefore[i]!.descriptors} before`,
          );
          assert.ok(streams <= openBefore[i]!.streams, `${streams} streams`);
        }
      },
      30_000,
      3_000,
    );
  });
});

function valuesOf<T>(ends: readonly PromiseSettledResult<T>[], count: number): T[] {
  assert.equal(ends.length, count);
  return ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
}

/** Streams of one connection whose windows never open: when each was reset. */
async function openNoWindow(socket: Duplex): Ends<number> {
  const session = http2.connect('http://callee', {
    createConnection: () => socket,
    settings: { initialWindowSize: 0 },
  });
  await once(session, 'remoteSettings');
  const began = performance.now();
  const resets = await Promise.allSettled(
    Array.from({ length: count }, async () => {
      const stream = session.request({ ':path': `/bytes/${bigBytes}`, ':authority': 'callee', 'cellmesh-as': 'self' });
      await new Promise((resolve) =>
        stream
          .on('error', () => {})
          .on('close', resolve)
          .resume(),
      );
      // The callee's sidecar has no window either, and may be the first to say so.
      assert.ok(windowCodes.includes(stream.rstCode), `code ${stream.rstCode}`);
      assert.equal(session.destroyed, false);
      return performance.now() - began;
    }),
  );
  session.destroy();
  return resets;
}

/** Forty a second, until there are more than fit; every second one says the half of a ClientHello. When each was closed. */
async function openHandshakes(port: number): Ends<number> {
  const half = Buffer.from('160301020001000', 'hex');
  const one = async (i: number) => {
    const socket = connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.on('error', () => {}).on('close', resolve));
    const began = performance.now();
    if (i % 2 === 0) socket.write(half);
    socket.resume();
    await closed;
    return performance.now() - began;
  };
  const begun: Promise<number>[] = [];
  for (let i = 0; i < handshakesBegun; i++) {
    begun.push(one(i));
    await delay(25);
  }
  return Promise.allSettled(begun);
}

/** `/bytes/N` makes as many while they are taken; anything else reads what comes. */
async function startApplication(): Promise<Server> {
  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => {
    const [, size] = /^\/bytes\/(\d+)$/.exec(incoming.url ?? '') ?? [];
    incoming.on('error', () => {}).resume();
    response.on('error', () => {});
    if (size !== undefined) {
      response.writeHead(200, { 'content-length': size });
      Readable.from(piecesOf(Number(size))).pipe(response);
    } else incoming.on('end', () => response.end('thanks'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function* piecesOf(size: number): Generator<Buffer> {
  const piece = Buffer.alloc(64 * 1024, 'x');
  for (let left = size; left > 0; left -= piece.length) yield piece.subarray(0, Math.min(left, piece.length));
}
