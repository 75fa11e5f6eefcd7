import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, type RunningUp, startUp } from '../support/command.ts';
import { customersOf } from '../support/customers.ts';
import { eventually } from '../support/eventually.ts';
import { type LoadReport, startLoad } from '../support/load.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const perSecond = 200;
const minuteMs = 60_000;
/** Sixteen processes compile what they run, on as few as two processors. */
const rampMs = 15_000;
const services = ['api', 'messaging', 'delivery', 'carrier', 'store'];

/** Six renewals a minute; what the last one brought outlives the minute without a control plane. */
const environment = { CELLMESH_SVID_RENEWAL: '10s', CELLMESH_SVID_LIFETIME: '10m' };

test(`two minutes at ${perSecond} requests a second through router and five services, SVIDs renewed four times, then no control plane: no request fails`, {
  timeout: 5 * minuteMs,
}, async (context) => {
  await using directory = await temporaryDirectory();
  const stateDir = join(directory.path, 'state');
  await using up = await startUp(stateDir, { environment });
  await using customers = await customersOf(up);
  const seen = new Map(services.map((name) => [name, new Set<string>()]));

  const load = startLoad({ perSecond, rampMs, send: customers.send });
  await using _ = load;
  while (load.nowMs < rampMs + minuteMs) {
    for (const name of services) seen.get(name)!.add(await serialOf(stateDir, name));
    await delay(500);
  }
  for (const [name, serials] of seen) assert.ok(serials.size > 4, `${name}: ${serials.size - 1} renewals`);

  await using control = await takeControlPlaneAway(up);
  while (load.nowMs < rampMs + 2 * minuteMs) await delay(500);
  assert.ok(control.attempts() > 0, 'nobody looked for the control plane');
  const report = await load.stop();

  context.diagnostic(summary(report));
  assert.deepEqual(report.failures.slice(0, 10), [], `${report.failures.length} of ${report.sent} requests failed`);
  assert.ok(report.sent > 1.95 * perSecond * 60, `${report.sent} requests`);
  assert.equal(report.succeeded, report.sent);
});

async function serialOf(stateDir: string, service: string): Promise<string> {
  return await readFile(join(stateDir, 'sidecars', service, 'svid/current/svid.pem'), 'utf8');
}

/** Kills the control plane and takes its port, so that it cannot come back. */
async function takeControlPlaneAway(up: RunningUp): Promise<AsyncDisposable & { attempts(): number }> {
  const pid = up.pidOf('control-plane');
  process.kill(pid, 'SIGKILL');
  let attempts = 0;
  const squatter = createServer((socket) => {
    attempts++;
    socket.on('error', () => {});
    socket.destroy();
  });
  squatter.on('error', () => {});
  await eventually(() => {
    if (!squatter.listening) squatter.listen(up.portBase + 10, '127.0.0.1');
    assert.ok(squatter.listening);
  });
  await eventually(() => assert.ok(!isAlive(pid)));
  return {
    attempts: () => attempts,
    [Symbol.asyncDispose]: () => new Promise((resolve) => squatter.close(() => resolve())),
  };
}

function summary(report: LoadReport): string {
  const [p50, p99] = [50, 99].map((percent) => report.latencyMs(percent).toFixed(1));
  return `${report.sent} requests, ${report.failures.length} failed; median ${p50} ms, 99 % below ${p99} ms`;
}
