import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { bodyBytes } from './breaking-application.ts';

/** Where a client leaves. */
export const leavePhases = ['connected', 'in-request-head', 'in-request-body', 'waiting', 'in-response'] as const;
export type LeavePhase = (typeof leavePhases)[number];
/** By HTTP/1.1 or by HTTP/2; with a FIN, with a RST, or (HTTP/2) with a RST_STREAM. */
export const leaveKinds = ['http1-close', 'http1-reset', 'http2-close', 'http2-reset', 'http2-cancel'] as const;
export type LeaveKind = (typeof leaveKinds)[number];

const half = Buffer.alloc(bodyBytes / 2, 'y');

/** Connects, goes on as far as the phase says, and leaves. Resolves when the client's side is closed. */
export async function leave(port: number, phase: LeavePhase, kind: LeaveKind): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  await once(socket, 'connect');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  if (kind.startsWith('http1')) await speakHttp1(socket, phase);
  else await speakHttp2(socket, phase, kind === 'http2-cancel');
  if (kind.endsWith('-reset')) socket.resetAndDestroy();
  else socket.destroy();
  await closed;
}

async function speakHttp1(socket: Socket, phase: LeavePhase): Promise<void> {
  if (phase === 'connected') return;
  const path = phase === 'in-response' ? '/drip' : '/hang';
  const request = `POST ${path} HTTP/1.1\r\nhost: callee\r\ncontent-length: ${bodyBytes}\r\n\r\n`;
  if (phase === 'in-request-head') return write(socket, request.slice(0, 30));
  await write(socket, request);
  await write(socket, half);
  if (phase === 'in-request-body') return;
  await write(socket, half);
  if (phase === 'in-response') await once(socket, 'data');
}

async function speakHttp2(socket: Socket, phase: LeavePhase, isCancelled: boolean): Promise<void> {
  if (phase === 'connected') return write(socket, 'PRI * HTTP/2.0\r\n\r\n');
  // A HEADERS frame of 100 bytes without its end.
  const frames = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 100, 1, 4, 0, 0, 0, 1, 0x83];
  if (phase === 'in-request-head') {
    return write(socket, Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from(frames)]));
  }
  const session = connectHttp2('http://callee', { createConnection: () => socket });
  session.on('error', () => {});
  const path = phase === 'in-response' ? '/drip' : '/hang';
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-length': bodyBytes });
  stream.on('error', () => {});
  await write(stream, half);
  if (phase !== 'in-request-body') {
    stream.end(half);
    await roundTrip(session);
  }
  if (phase === 'in-response') await once(stream, 'data');
  if (isCancelled) {
    stream.close(constants.NGHTTP2_CANCEL);
    await roundTrip(session);
  }
}

/** What was sent before has been read. */
function roundTrip(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
}

function write(to: Socket | ClientHttp2Stream, bytes: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => to.write(bytes, (error) => (error ? reject(error) : resolve())));
}
