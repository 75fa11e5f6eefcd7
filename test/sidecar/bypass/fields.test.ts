import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Reason } from '#policy/reasons.ts';
import { type BypassMesh, nameOf, startBypassMesh, type Way, ways } from '../../support/bypass-mesh.ts';

/* PAINS.md P11: names that are believed although anybody can write them. What every request is held against stands in bypass-mesh.ts. */

type Fields = readonly (readonly [name: string, value: string])[];

let bypass: BypassMesh;
before(async () => {
  bypass = await startBypassMesh();
});
after(() => bypass[Symbol.asyncDispose]());

const named = (names: readonly string[], value: string): Fields => names.map((name) => [name, value] as const);

for (const way of ways) {
  const ask = (path: string, fields: Fields) => bypass.judge(way, { path, authority: bypass.publicAuthority, fields });

  describe(nameOf(way), () => {
    test('CVE-2023-27487 (Envoy): x-envoy-original-path and its like name no path, to us or to the application', async () => {
      const names = ['x-envoy-original-path', 'X-Original-URL', 'X-Rewrite-URL', 'x_original_url'];
      const { record, received } = await ask('/public/x', named(names, '/admin'));
      assert.equal(record?.path, '/public/x');
      assert.ok(!received?.rawHeaders.includes('/admin'));
      assert.equal((await ask('/admin', named(names, '/public/x'))).record?.reason, 'scope_missing');
    });

    test('contour#6586, haproxy-boshrelease#86: x-forwarded-client-cert tells the application nothing', async () => {
      const xfcc = 'By=spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/evil;Hash=00;URI=spiffe://evil';
      const names = ['x-forwarded-client-cert', 'X-Forwarded-Client-Cert', 'x_forwarded_client_cert'];
      const { received } = await ask('/public/x', named(names, xfcc));
      assert.ok(received !== undefined && !received.rawHeaders.includes(xfcc));
    });

    test('l5d-dst-override (Linkerd): no field chooses where a request goes', async () => {
      const { mesh } = bypass;
      const elsewhere = `delivery:${mesh.services.delivery.application.port}`;
      const names = [
        'l5d-dst-override',
        'cellmesh-dst-override',
        'x-envoy-original-dst-host',
        'x-forwarded-host',
        'forwarded',
      ];
      const { record } = await ask('/public/x', named(names, elsewhere));
      assert.equal(record?.service, 'messaging/messaging');
      assert.equal(mesh.services.delivery.application.received.length, 0);
      assert.equal(mesh.services.delivery.records.length, 0);
    });

    test('Dapr 1.17.8: X-Forwarded-Host says nothing about who issues tokens, now or for whoever comes next', async () => {
      const { record } = await ask(
        '/public/x',
        named(['X-Forwarded-Host', 'X-Forwarded-Proto', 'Forwarded'], 'evil.example'),
      );
      assert.equal(record?.outcome, 'permit');
      assert.equal((await ask('/public/x', [])).record?.outcome, 'permit');
    });

    test('what the mesh says about a caller, nobody else says: cellmesh-*, in any case, with underscores, and new ones', async () => {
      const claimed = ['account', 'caller', 'scope', 'decision', 'cell-hint', 'admin', ''];
      const names = claimed.flatMap((name) => [
        `cellmesh-${name}`,
        `Cellmesh-${name}`,
        `CELLMESH_${name.replace('-', '_')}`,
      ]);
      const { received } = await ask('/public/x', named([...names, 'cellmesh'], 'evil').slice(0, -1));
      assert.ok(received !== undefined && !received.rawHeaders.includes('evil'));
    });

    test('a field that chooses whose rights a request has is there once, or not at all', async () => {
      const twice = bypass.credentials(way);
      for (const [name, value] of twice) {
        const { record } = await ask('/public/x', [[name, value]]);
        assert.equal(record?.reason, name === 'cellmesh-left' ? 'hop_malformed' : 'field_malformed', name);
      }
    });

    test('Connection takes no field off that a decision needs, and what it may name goes no further', async () => {
      const refused = [
        'cellmesh-token',
        'cellmesh-left',
        'cellmesh-context',
        'Host',
        'authorization',
        'content-length',
      ];
      for (const name of refused) {
        const { record } = await ask('/public/x', [['Connection', name]]);
        assert.equal(record?.reason, 'message_malformed', name);
      }
      const { received, record } = await ask('/public/x', [
        ['Connection', 'x-hop'],
        ['x-hop', 'hop'],
      ]);
      if (way.protocol === 'h2') assert.equal(record?.reason, 'message_malformed');
      else assert.ok(received !== undefined && !received.rawHeaders.includes('hop'));
    });

    test('trailers become no fields', async () => {
      for (const name of [
        'cellmesh-caller',
        'cellmesh-account',
        'X-Forwarded-Client-Cert',
        'Host',
        'Authorization',
        'x_any',
      ]) {
        const received = await withTrailer(way, name);
        assert.ok(!received.rawTrailers.includes('evil') && !received.rawHeaders.includes('evil'), name);
      }
      assert.ok((await withTrailer(way, 'x-sum')).rawTrailers.includes('evil'), 'those that mean nothing do pass');
    });
  });
}

describe('an application', () => {
  test('cannot bring a token of its own, or say what is left', async () => {
    const token = await bypass.mesh.mint({ scope: 'messages:read billing:write' });
    const fields: Fields = [
      ['cellmesh-token', token],
      ['cellmesh-left', '1 messages:read billing:write'],
    ];
    for (const way of ways.filter(({ side }) => side === 'outbound')) {
      const ask = (path: string) => bypass.judge(way, { path, authority: bypass.publicAuthority, fields });
      assert.equal((await ask('/admin')).record?.reason, 'scope_missing' satisfies Reason);
      assert.equal((await ask('/public/x')).received?.headers['cellmesh-scope'], 'messages:read messages:write');
    }
  });
});

async function withTrailer(way: Way, name: string) {
  const { publicAuthority: authority } = bypass;
  const request = { method: 'POST', path: '/public/x', authority, fields: [['TE', 'trailers']] as const };
  const { received } = await bypass.judge(way, { ...request, body: 'a', trailer: [name, 'evil'] });
  assert.ok(received !== undefined, name);
  return received;
}
