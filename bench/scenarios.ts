import { equalWork } from './candidates/envoy.ts';
import type { LoadOrder } from './load.ts';

/** What a row of requests is made of. */
export interface Scenario {
  readonly name: string;
  readonly connections: readonly number[];
  /** Those of `--quick`, where they are fewer. */
  readonly quickConnections?: readonly number[];
  readonly request: Pick<LoadOrder, 'method' | 'path' | 'bodyBytes' | 'perSecond' | 'grpc' | 'variants'>;
  /** Requests take turns with as many different tokens; without it there is one. */
  readonly tokens?: number;
}

const streams = 32;
/** More than any table holds. */
const variants = 10_000;

export const scenarios: readonly Scenario[] = [
  { name: 'proxy', connections: [1, 8, 32, 128], quickConnections: [1, 32], request: get(90) },
  { name: equalWork, connections: [1, 8, 32, 128], quickConnections: [1, 32, 128], request: get(90) },
  { name: `${equalWork}-100-tokens`, connections: [32], request: get(90), tokens: 100 },
  { name: `${equalWork}-new-ids`, connections: [32], request: { ...get(90), variants } },
  ...[1000, 2000, 4000].map((perSecond) => ({
    name: `rate-${perSecond}`,
    connections: [32],
    request: { ...get(90), perSecond },
  })),
  { name: 'body-8k', connections: [16], request: get(8192) },
  { name: 'body-8k', connections: [16], request: post(8192) },
  { name: 'body-64k', connections: [16], request: get(65_536) },
  { name: 'body-64k', connections: [16], request: post(65_536) },
  { name: 'body-1m', connections: [4], request: get(1_048_576) },
  { name: 'body-1m', connections: [4], request: post(1_048_576) },
  { name: 'grpc-unary', connections: [1], request: call(1) },
  { name: 'grpc-stream', connections: [1], request: call(100) },
];

export function get(bytes: number): Scenario['request'] {
  return { method: 'GET', path: `/bytes/${bytes}`, bodyBytes: 0 };
}

/** Answered with a few bytes. */
function post(bytes: number): Scenario['request'] {
  return { method: 'POST', path: '/bytes/90', bodyBytes: bytes };
}

/** One message there, `messages` back. */
export function call(messages: number): Scenario['request'] {
  return { method: 'POST', path: '/bench.Bench/Call', bodyBytes: 0, grpc: { streams, messages } };
}

/** A request of ordinary size: ten fields, about 500 bytes. */
export const fields = {
  'user-agent': 'bench/1.0 (load generator; keep-alive)',
  accept: 'application/json, text/plain;q=0.9, */*;q=0.8',
  'accept-language': 'en-US,en;q=0.9',
  'content-type': 'application/json',
  'x-request-id': '6f0f1c1e-3b5c-4a53-9c62-5c7d5a0c2f11',
  'x-client-version': '2026.11.24-1',
  'x-feature-flags': 'alpha=1,beta=0,gamma=control',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'cache-control': 'no-cache',
};

/** What clients of gRPC send beside what gRPC needs. */
export const grpcFields = {
  'user-agent': 'bench/1.0 (load generator)',
  'grpc-timeout': '10S',
  traceparent: fields.traceparent,
};
