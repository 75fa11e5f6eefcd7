import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { checks } from '#cli/check/checks.ts';
import { askControlPlane } from '#cli/check/collect/control-plane.ts';
import { judge } from '#cli/check/judge.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { callHttp } from '../../support/application.ts';
import { eventually } from '../../support/eventually.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';
import { wellOnMachine } from './well-facts.ts';

const inbound = 'inbound: { mode: observe-plaintext, until: "2999-01-01T00:00:00Z" }';
const open = '{ name: open, from: [unmeshed], http: { paths: [/open] }, account: none }';

describe('a control plane that is asked', () => {
  let cell: Cell;
  let address: string;
  let aheadMs = 0;
  const wrong: Clock = { ...systemClock, now: () => systemClock.now() + aheadMs };

  before(async () => {
    cell = await startCell({
      controlPlaneClock: wrong,
      editManifests: (text) =>
        text.replace(/(name: messaging, namespace[\s\S]*?)( {2}allow:\n)/, `$1  ${inbound}\n$2    - ${open}\n`),
    });
    await cell.whenReady();
    address = `127.0.0.1:${cell.controlPlane.address.port}`;
  });
  after(() => cell?.[Symbol.asyncDispose]());

  async function ask(hearsPlaintext = false) {
    const admin = join(cell.manifestsDir, '../control-plane/admin');
    const options = { state: 'none', region: 'local', address, admin };
    const signal = AbortSignal.timeout(5_000);
    return await askControlPlane(options, Promise.resolve(hearsPlaintext), systemClock, signal);
  }

  /** What one check says, with the verdict in front. */
  async function say(id: string): Promise<string> {
    const facts = { ...wellOnMachine, ...(await ask()) };
    const [result] = judge(
      checks.filter((check) => check.id === id),
      facts,
    );
    return [result!.verdict, ...result!.findings.map(({ what }) => what)].join('\n');
  }

  test('has a clock that may be wrong by seconds, not by minutes', async () => {
    const said = [];
    for (aheadMs of [0, 90_000, -90_000, 600_000, -600_000]) said.push(await say('clock'));
    aheadMs = 0;
    // In the last case it takes the SVID of whoever asks for one that is not valid yet.
    const expected = [/^ok\n/, /^warn\n.* behind/, /^warn\n.* ahead of/, /^fail\n.*60\d\.\d s behind/, /^unknown\n/];
    for (const [at, pattern] of expected.entries()) assert.match(said[at]!, pattern);
  });

  test('tells of its roots, and when they rotate', async () => {
    assert.match(await say('rotation'), /^ok\nthe root of the cell rotates in \d+ d$/);
  });

  test('tells who came without TLS, and asks for nothing of it where nobody may', async () => {
    await cell.callAsRouter({ path: '/messages' });
    const { sidecar } = cell.services.messaging;
    const { status } = await callHttp({ port: sidecar.ports.inbound!, path: '/open', authority: 'any.example' });
    assert.equal(status, 200);
    await eventually(async () => {
      const { plaintextCallers } = await ask(true);
      assert.ok(plaintextCallers !== undefined && 'value' in plaintextCallers, JSON.stringify(plaintextCallers));
      assert.deepEqual(
        plaintextCallers.value.map(({ service, address, requests }) => [service, address, requests]),
        [['messaging/messaging', '127.0.0.1', 1]],
      );
    });
    assert.equal((await ask(false)).plaintextCallers, undefined);
  });

  test('that is away is not known of', async () => {
    await cell.stopControlPlane();
    const { controlPlane, rollouts } = await ask();
    assert.ok('unknown' in rollouts);
    assert.ok(controlPlane.every(({ said }) => 'unknown' in said));
  });
});
