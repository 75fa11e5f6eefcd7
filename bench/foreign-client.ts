import { once } from 'node:events';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { Foreign } from './candidate.ts';
import { Latencies } from './latencies.ts';
import { RawConnection } from './raw-http2.ts';

/**
 * A client that is no hop of any pair, as a process of its own: calls an inbound hop by mutual TLS, with Node's TLS. The parent sends a
 * `ForeignOrder` and gets a `LoadResult` for connections that are made and ended, `{ open }` for those that stay.
 */
export type ForeignOrder =
  /** Each connection carries one request by HTTP/1.1; `concurrency` at once. */
  | {
      readonly kind: 'handshakes';
      readonly to: Foreign;
      readonly path: string;
      readonly concurrency: number;
      readonly durationMs: number;
    }
  /** Connections of HTTP/2 on which SETTINGS were exchanged and nothing else, until `close`. */
  | { readonly kind: 'open'; readonly to: Foreign; readonly connections: number }
  | { readonly kind: 'close' };

/** Handshakes at once while connections are opened that stay: below what servers bound. */
const openingMax = 32;
/** For a handshake and SETTINGS together, when as many others are waiting. */
const openedMsMax = 20_000;
const held = new Set<TLSSocket>();

async function handshakes(order: Extract<ForeignOrder, { kind: 'handshakes' }>) {
  const latencies = new Latencies();
  const context = contextOf(order.to);
  const fields = { host: order.to.host, ...order.to.fields, connection: 'close' };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = `GET ${order.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
  const one = async () => {
    while (latencies.elapsedMs < order.durationMs) {
      const begun = performance.now();
      const answer = await askOnce(dial(order.to, context, 'http/1.1'), request);
      latencies.record(performance.now() - begun, answer.startsWith('HTTP/1.1 2') ? undefined : answer.slice(0, 400));
    }
  };
  await Promise.all(Array.from({ length: order.concurrency }, one));
  return latencies.result();
}

/** Resolves to all that came, or to what went wrong. */
function askOnce(socket: TLSSocket, request: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    let failure = 'connection closed';
    socket.setEncoding('latin1');
    socket.on('secureConnect', () => socket.write(request));
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', (error) => {
      failure = error.message;
    });
    socket.on('close', () => resolve(answer || failure));
  });
}

async function open({ to, connections }: Extract<ForeignOrder, { kind: 'open' }>): Promise<{ readonly open: number }> {
  const context = contextOf(to);
  let left = connections;
  const some = async () => {
    while (left-- > 0) {
      const socket = dial(to, context, 'h2');
      socket.on('close', () => held.delete(socket));
      const signal = AbortSignal.timeout(openedMsMax);
      await once(socket, 'secureConnect', { signal });
      socket.on('error', () => socket.destroy());
      const answered = once(socket, 'data', { signal });
      new RawConnection(socket, 'client', { onFrame() {} });
      await answered;
      held.add(socket);
    }
  };
  await Promise.all(Array.from({ length: openingMax }, some));
  return { open: held.size };
}

/** Resolves to how many had stayed. */
async function close(): Promise<{ readonly open: number }> {
  const stayed = [...held];
  const closed = stayed.map((socket) => once(socket, 'close'));
  for (const socket of stayed) socket.destroy();
  await Promise.all(closed);
  return { open: stayed.length };
}

function contextOf({ certificate, key, root }: Foreign): SecureContext {
  return createSecureContext({ cert: certificate, key, ca: root, minVersion: 'TLSv1.3' });
}

function dial(to: Foreign, secureContext: SecureContext, protocol: string): TLSSocket {
  return connect({
    host: '127.0.0.1',
    port: to.port,
    secureContext,
    ALPNProtocols: [protocol],
    // An SVID names a workload, no host.
    checkServerIdentity: () => undefined,
  });
}

async function carryOut(order: ForeignOrder): Promise<unknown> {
  switch (order.kind) {
    case 'handshakes':
      return handshakes(order);
    case 'open':
      return open(order);
    case 'close':
      return close();
  }
}

process.on('message', (order: ForeignOrder) => {
  void carryOut(order).then(
    (result) => process.send?.(result as object),
    (error: Error) => process.send?.({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
