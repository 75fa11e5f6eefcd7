import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import type { Reason } from '#policy/reasons.ts';
import { type BypassMesh, nameOf, startBypassMesh, ways } from '../../support/bypass-mesh.ts';

/* PAINS.md P10: hosts, ports, methods and names of workloads. Each is one thing only, to policy and to the application. */

let bypass: BypassMesh;
before(async () => {
  bypass = await startBypassMesh();
});
after(() => bypass[Symbol.asyncDispose]());

for (const way of ways) {
  const isInbound = way.side === 'inbound';
  const portOf = (authority: string) => Number(authority.split(':')[1]);

  describe(nameOf(way), () => {
    test('CVE-2021-39155 (Istio): the case of a host changes nothing, nor does its final dot', async () => {
      const port = portOf(bypass.publicAuthority);
      for (const host of [
        'messaging',
        'MESSAGING',
        'Messaging',
        'messaging.',
        'MESSAGING.Messaging.SVC',
        'messaging.messaging.svc.',
      ]) {
        const authority = `${host}:${port}`;
        const { received } = await bypass.judge(way, { path: '/public/x', authority });
        assert.equal(received?.port, port, host);
        assert.match(received.headers.host!, /^messaging[a-z.]*:\d+$/);
        const { record } = await bypass.judge(way, { path: '/admin', authority });
        assert.equal(record?.reason, 'scope_missing', host);
      }
    });

    test('a host or port that no manifest declares is nobody', async () => {
      const port = portOf(bypass.publicAuthority);
      const unknown: Reason = isInbound ? 'host_unknown' : 'not_declared';
      for (const [authority, reason] of [
        [`delivery:${port}`, unknown],
        [`messaging.evil:${port}`, unknown],
        [`xmessaging:${port}`, unknown],
        ['messaging:1', unknown],
        ['messaging:0', unknown],
        [`messaging..:${port}`, unknown],
        [`messaging@evil:${port}`, 'message_malformed'],
        [`evil/messaging:${port}`, 'message_malformed'],
        [`messaging:${port},evil`, 'message_malformed'],
        [`messaging:${port}#`, 'message_malformed'],
        [`messaging%2e:${port}`, 'message_malformed'],
        ['messaging:', 'message_malformed'],
        ['messaging:65536', 'message_malformed'],
        ['', 'message_malformed'],
      ] as const) {
        const { record } = await bypass.judge(way, { path: '/public/x', authority });
        assert.equal(record?.reason, reason, authority);
      }
    });

    test('two hosts in one request: neither is believed', async () => {
      const authority = bypass.publicAuthority;
      const [host, other] = ['Host', bypass.adminAuthority];
      const judged = [
        await bypass.judge(way, { path: '/public/x', authority, fields: [[host, other]] }),
        await bypass.judge(way, { path: `http://${other}/public/x`, authority }),
        await bypass.judge(way, {
          path: '/public/x',
          authority,
          fields: [
            ['Host', authority],
            ['Host', authority],
          ],
        }),
      ];
      for (const { record } of judged) assert.equal(record?.reason, 'message_malformed');
    });

    test('the port that was decided on is the port that it comes to', async () => {
      for (const [authority, path, outcome] of [
        [bypass.publicAuthority, '/public/x', 'public'],
        [bypass.adminAuthority, '/health', 'health'],
        [bypass.adminAuthority, '/public/x', 'route_not_allowed'],
        [bypass.publicAuthority, '/health', 'route_not_allowed'],
        [bypass.adminAuthority.replace(':', ':0'), '/health', 'message_malformed'],
        [bypass.adminAuthority.slice(0, -1), '/health', isInbound ? 'host_unknown' : 'not_declared'],
      ] as const) {
        const { record, received } = await bypass.judge(way, { path, authority });
        assert.equal(record?.rule ?? record?.reason, outcome, `${authority} ${path}`);
        if (received !== undefined) assert.equal(received.port, portOf(authority));
      }
    });

    test('a method is what it is called, letter by letter, whatever a field says', async () => {
      const override = [['X-HTTP-Method-Override', 'GET']] as const;
      for (const [method, outcome, fields] of [
        ['GET', 'files', []],
        ['HEAD', 'route_not_allowed', []],
        ['get', 'route_not_allowed', []],
        ['GETX', 'route_not_allowed', []],
        ['POST', 'route_not_allowed', override],
        ['G\tET', 'message_malformed', []],
        ['GET,POST', 'message_malformed', []],
        ['G\xcbT', 'message_malformed', []],
      ] as const) {
        const { record } = await bypass.judge(way, {
          method,
          path: '/files/x',
          authority: bypass.publicAuthority,
          fields,
        });
        assert.equal(
          record?.failed?.rule ?? record?.rule ?? record?.reason,
          outcome === 'route_not_allowed' ? 'files' : outcome,
        );
        assert.equal(record?.outcome, outcome === 'files' ? 'permit' : 'deny', method);
      }
    });

    test("CVE-2026-39350 and CVE-2026-59992 (Istio): a dot in a workload's name is a dot", async () => {
      const { record } = await bypass.judge(way, { path: '/dotted', authority: bypass.publicAuthority });
      assert.deepEqual([record?.reason, record?.failed?.rule], ['peer_not_allowed', 'dotted']);
    });

    test('CVE-2026-73552 (Envoy): a byte above ASCII in a field is refused before anything is matched', async () => {
      for (const [name, value] of [
        ['x-any', 'caf\xe9'],
        ['x-any', '\xff'],
        ['x-any', '\x80admin'],
        ['x-\xe9', 'a'],
        ['cookie', 'a=\xa0'],
        ['x-any', 'a\0b'],
        ['x-any', 'a\x01b'],
        ['x-any', 'a\x7fb'],
      ] as const) {
        const fields = [[name, value]] as const;
        const { record } = await bypass.judge(way, { path: '/public/x', authority: bypass.publicAuthority, fields });
        assert.equal(record?.reason, 'message_malformed', `${name}: ${value}`);
      }
    });
  });
}

test('the workload whose name does have the dot may', async () => {
  const dotted = parseSpiffeId('spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/a.i');
  assert.equal((await bypass.mesh.callAs(dotted, 'messaging', { path: '/dotted' })).status, 200);
  const similar = parseSpiffeId('spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/a-i');
  assert.equal((await bypass.mesh.callAs(similar, 'messaging', { path: '/dotted' })).status, 403);
});
