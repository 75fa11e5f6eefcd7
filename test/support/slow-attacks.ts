import { block, frame, preface, settings, uint32 } from '../wire/support/http2-frames.ts';
import type { Protocol, SlowPlan } from './slow-peers.ts';

/** Settings of the sidecars that are attacked: short, but for what may not be. */
export const slowSettings = {
  'head-timeout': '2s',
  'body-timeout': '2s',
  'idle-timeout': '61s',
  'in-flight-max': '1000',
};
const headMs = 2_000;
const bodyMs = 2_000;
const idleMs = 61_000;
/** `writeStallMs` of `wire/limits.ts`, which is no setting. A peer that took the last byte late has it twice. */
export const writeStallMs = 30_000;
const stalledMs = 2 * writeStallMs;
/** How late a busy machine may be. */
export const slackMs = 8_000;
/** More than all buffers on the way hold. */
export const bigBytes = 50_000_000;

const self = 'Host: callee\r\ncellmesh-as: self\r\n';
const request = (line: string) => `${line} HTTP/1.1\r\n${self}`;
const head2 = (method: string, path: string) =>
  block([':method', method], [':scheme', 'http'], [':path', path], [':authority', 'callee'], ['cellmesh-as', 'self']);
const opened = Buffer.concat([Buffer.from(preface), settings(), frame('SETTINGS', 1, 0)]);
const wideOpen = Buffer.concat([
  Buffer.from(preface),
  settings([4, 0x7fffffff]),
  frame('WINDOW_UPDATE', 0, 0, uint32(0x7fff0000 - 65_535)),
]);

/** A way to hold a connection without using it. */
export interface Attack {
  readonly what: string;
  readonly protocol: Protocol;
  readonly plan: SlowPlan;
  /** After this time, and not later than with the slack. Who does not read learns of it when it does. */
  readonly closesAfterMs: number;
  readonly hears?: RegExp;
}

const everyMs = 200;

export const attacks: readonly Attack[] = [
  {
    what: 'a head byte by byte (slowloris)',
    protocol: 'http/1.1',
    plan: {
      said: `${request('GET /bytes/1')}x: `,
      trickle: { bytes: 'a', everyMs },
    },
    closesAfterMs: headMs,
    hears: /^HTTP\/1\.1 408 /,
  },
  {
    what: 'a head byte by byte on a connection that was used',
    protocol: 'http/1.1',
    plan: {
      said: `${request('GET /bytes/1')}\r\n${request('GET /bytes/1')}x: `,
      trickle: { bytes: 'a', everyMs },
    },
    closesAfterMs: headMs,
    hears: /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 408 /,
  },
  {
    what: 'a head of HTTP/2 in a frame byte by byte',
    protocol: 'h2',
    plan: {
      said: Buffer.concat([opened, frame('HEADERS', 5, 1, Buffer.alloc(5_000)).subarray(0, 9)]),
      trickle: { bytes: head2('GET', '/bytes/1'), everyMs },
    },
    closesAfterMs: headMs,
  },
  {
    what: 'a head of HTTP/2 in ever more frames',
    protocol: 'h2',
    plan: {
      said: Buffer.concat([opened, frame('HEADERS', 1, 1, head2('GET', '/bytes/1'))]),
      // Empty ones are answered at once (see test/wire/http2/attacks.test.ts); these bring a field each.
      trickle: { bytes: frame('CONTINUATION', 0, 1, block(['a', 'b'])), everyMs: everyMs / 2 },
    },
    closesAfterMs: headMs,
  },
  {
    what: 'a body that stops',
    protocol: 'http/1.1',
    plan: {
      said: `${request('POST /upload')}Content-Length: 100000\r\n\r\nfirst`,
    },
    closesAfterMs: bodyMs,
    hears: /^HTTP\/1\.1 408 /,
  },
  {
    what: 'a response that is not read',
    protocol: 'http/1.1',
    plan: {
      said: `${request(`GET /bytes/${bigBytes}`)}\r\n`,
      readAfterMs: stalledMs + 2 * slackMs,
    },
    closesAfterMs: stalledMs + 2 * slackMs,
  },
  {
    what: 'responses of HTTP/2 that are not read, with windows wide open',
    protocol: 'h2',
    plan: {
      said: Buffer.concat([
        wideOpen,
        ...[1, 3, 5, 7].map((stream) => frame('HEADERS', 5, stream, head2('GET', `/bytes/${bigBytes}`))),
      ]),
      readAfterMs: stalledMs + 2 * slackMs,
    },
    closesAfterMs: stalledMs + 2 * slackMs,
  },
  {
    what: 'a connection without a request',
    protocol: 'http/1.1',
    plan: { said: '' },
    closesAfterMs: idleMs,
  },
  {
    what: 'a connection after its request',
    protocol: 'http/1.1',
    plan: { said: `${request('GET /bytes/1')}\r\n` },
    closesAfterMs: idleMs,
    hears: /^HTTP\/1\.1 200 /,
  },
  {
    what: 'a connection of HTTP/2 without a stream',
    protocol: 'h2',
    plan: { said: opened },
    closesAfterMs: idleMs,
  },
];
