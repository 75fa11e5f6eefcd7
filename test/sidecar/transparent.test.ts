import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Outcomes } from '../support/intercepted-namespace.ts';

const script = join(import.meta.dirname, '../support/intercepted-namespace.ts');

/** Why it cannot be tried here: false where it can. */
function obstacle(program: string): string | false {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root, for namespaces and rules';
  for (const needed of [program, 'ip', 'unshare', 'nsenter']) {
    if (spawnSync('sh', ['-c', `command -v ${needed}`]).status !== 0) return `needs \`${needed}\``;
  }
  const veth = spawnSync('unshare', ['--net', 'ip', 'link', 'add', 'a0', 'type', 'veth', 'peer', 'name', 'b0']);
  return veth.status === 0 ? false : 'needs network namespaces with virtual interfaces';
}

for (const [backend, program] of [
  ['nftables', 'nft'],
  ['iptables', 'iptables'],
] as const) {
  describe(`connections redirected by ${backend}`, { skip: obstacle(program) }, () => {
    let outcomes: Outcomes;
    before(
      async () => {
        const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, script, backend]);
        outcomes = JSON.parse(stdout.trim().split('\n').at(-1)!);
      },
      { timeout: 60_000 },
    );

    test('reach the callee whose address they were for, whatever Host says, over IPv4 and IPv6', () => {
      assert.deepEqual([outcomes.ipv4, outcomes.ipv6], ['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK']);
      assert.deepEqual(outcomes.callees, ['messaging/messaging', 'messaging/messaging']);
    });

    test('are carried as they are where the port is opaque', () => {
      assert.equal(outcomes.opaque, 'hello from the store');
    });

    test('to an address that no declared call goes to are denied, and the record names it', () => {
      assert.match(outcomes.undeclared, /^$|ECONNRESET/);
      assert.deepEqual(outcomes.undeclaredRecord, { reason: 'not_declared', actual: '10.99.0.9:443' });
    });

    test("leave out what was excepted, and all of the sidecar's own user", () => {
      const { exceptAddress, exceptPort, ownUser, recordsOfOwnUser } = outcomes;
      assert.deepEqual([exceptAddress, exceptPort, ownUser, recordsOfOwnUser], ['nothing', 'nothing', 'nothing', 0]);
    });

    test('cannot go round: who dials the port itself is denied', () => {
      assert.match(outcomes.straightToSidecar, /^$|ECONNRESET/);
    });

    test("from outside do not reach the application's port, but those that stay open", () => {
      assert.doesNotMatch(outcomes.fromOutside, /200/);
      assert.equal(outcomes.fromOutsideToOpenPort, 'HTTP/1.1 200 OK');
    });

    test('without TLS come to the port that they were for while the sidecar hears them, and not before', () => {
      const { strict, heard, undeclaredPort } = outcomes.plaintext;
      assert.match(strict, /^$|ECONNRESET/);
      assert.equal(heard, 'HTTP/1.1 200 OK');
      assert.equal(undeclaredPort, 'HTTP/1.1 421 Misdirected Request');
      const record = { peer: 'unmeshed', address: '10.99.0.254', rule: 'open', isOwnPort: true };
      assert.deepEqual(outcomes.plaintextRecord, record);
    });

    test('go their own way again after `intercept remove`, and no rule is left', () => {
      assert.equal(outcomes.afterRemoval, 'nothing');
      assert.equal(outcomes.rulesLeft, '');
    });
  });
}
