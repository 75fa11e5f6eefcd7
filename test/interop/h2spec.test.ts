import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { listenPlain } from '#wire/listen-plain.ts';
import { respond } from '#wire/respond.ts';
import { goProgram } from './parts.ts';

const h2spec = await goProgram('github.com/summerwind/h2spec/cmd/h2spec', 'v2.2.1+incompatible');

/** Reads the whole body, as an application would, and answers with a few bytes. */
function serve(exchange: ServerExchange<undefined>): void {
  exchange.listen({
    onRequestData: () => true,
    onRequestEnd: () => respond(exchange, { status: 200, body: 'a body of some bytes' }),
    onWritable() {},
    onAborted() {},
  });
  exchange.readBody();
}

test('h2spec in strict mode finds nothing wrong with the server engine', {
  ...('skip' in h2spec && { skip: h2spec.skip }),
  timeout: 120_000,
}, async () => {
  assert.ok('path' in h2spec);
  await using listener = await listenPlain<undefined>(serve, {
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    protocol: 'h2',
    contextOf: () => undefined,
  });
  const { code, output } = await run(h2spec.path, ['-S', '-h', '127.0.0.1', '-p', String(listener.address.port)]);
  const [, total, passed] = /(\d+) tests, (\d+) passed, 0 skipped, 0 failed/.exec(output) ?? [];
  assert.equal(code, 0, output.slice(output.indexOf('Failures:')));
  assert.equal(passed, total);
  assert.ok(Number(total) >= 145, `only ${total} cases ran`);
});

function run(path: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(path, [...args], { maxBuffer: 16 * 1024 * 1024 }, (error, output) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, output });
    });
  });
}
