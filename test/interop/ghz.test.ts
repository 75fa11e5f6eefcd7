import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import { goProgram } from './parts.ts';
import { type EchoGrpcServer, startEchoGrpcServer } from './support/echo-grpc-server.ts';

/** The load generator for gRPC (ghz.sh), written in Go, against an application by grpc-js. */
const ghz = await goProgram('github.com/bojand/ghz/cmd/ghz', 'v0.93.0');

const loads = [
  { call: 'Unary', data: '{"body":"aGVsbG8="}', metadata: '{}', count: 5_000 },
  {
    call: 'Collect',
    data: '[{"body":"aGVsbG8="},{"body":"aGVsbG8="},{"body":"aGVsbG8="}]',
    metadata: '{}',
    count: 1_000,
  },
  { call: 'Repeat', data: '{"body":"aGVsbG8="}', metadata: '{"repeat":"10"}', count: 1_000 },
  { call: 'Chat', data: '[{"body":"aGVsbG8="},{"body":"aGVsbG8="},{"body":"aGVsbG8="}]', metadata: '{}', count: 1_000 },
] as const;

describe('ghz through two sidecars', 'skip' in ghz ? { skip: ghz.skip } : {}, () => {
  let server: EchoGrpcServer;
  let pair: SidecarPair;

  before(async () => {
    server = await startEchoGrpcServer();
    pair = await startSidecarPair({ applicationPort: server.port, protocol: 'grpc' });
  });

  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await pair?.[Symbol.asyncDispose]();
  });

  for (const { call, data, metadata, count } of loads) {
    test(`${call}: ${count} calls on 5 connections, 50 at once, all OK`, { timeout: 60_000 }, async () => {
      assert.ok('path' in ghz);
      const options = ['--insecure', '--proto', join(import.meta.dirname, 'support/echo.proto'), '-O', 'json'];
      const load = ['-n', String(count), '-c', '50', '--connections', '5', '-d', data, '-m', metadata];
      const args = [...options, ...load, '--call', `interop.Echo.${call}`, `127.0.0.1:${pair.port}`];
      const { stdout } = await promisify(execFile)(ghz.path, args, { timeout: 50_000, maxBuffer: 16 * 1024 * 1024 });
      const report = JSON.parse(stdout) as {
        readonly count: number;
        readonly statusCodeDistribution: Readonly<Record<string, number>>;
        readonly errorDistribution: Readonly<Record<string, number>>;
      };
      assert.deepEqual(report.errorDistribution, {});
      assert.deepEqual([report.count, report.statusCodeDistribution], [count, { OK: count }]);
    });
  }
});
