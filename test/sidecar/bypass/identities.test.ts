import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { primitive, sequence } from '#certs/der.ts';
import { oids } from '#certs/object-identifiers.ts';
import { toPem } from '#certs/pem.ts';
import type { PeerRule } from '#net/peer-refused.ts';
import { eventually } from '../../support/eventually.ts';
import { handmadeCell } from '../../support/handmade-cell.ts';
import { extension, nameOf, uriSans } from '../../support/handmade-certificates.ts';
import { sendRaw } from '../../support/raw-request.ts';
import { type Mesh, startMesh } from '../../support/start-mesh.ts';

/*
 * PAINS.md P12: who a certificate names. Node CVE-2021-44531 (URI SANs matched as hosts), CVE-2021-44532 (SANs joined into one string, where a
 * name can write what looks like another), CVE-2021-44533 (names of several parts read wrong); and that proxies take the first of several
 * IDs. The certificates are signed by a root that the cell trusts: only what they say is wrong.
 */

const domain = 'cell-1.cellmesh.localhost';
const hand = handmadeCell(domain, Date.now());
const api = hand.id;
const delivery = `spiffe://${domain}/ns/messaging/sa/delivery`;
const protocols = ['http/1.1', 'h2'] as const;

let mesh: Mesh;
before(async () => {
  mesh = await startMesh();
  const { roots: more } = [...hand.bundles.values()][0]!;
  for (const { identity } of [mesh.services.api, mesh.services.messaging]) {
    const { svid, bundles } = identity.current;
    const ours = bundles.get(hand.trustDomain)!;
    const widened = { ...ours, sequence: ours.sequence + 1, roots: [...ours.roots, ...more] };
    identity.set({ svid, bundles: new Map([...bundles, [hand.trustDomain, widened]]) });
  }
});
after(() => mesh[Symbol.asyncDispose]());

/** A SAN of URIs and DNS names, in the order given. */
const san = (...names: readonly (readonly [kind: 'uri' | 'dns', text: string])[]) =>
  extension(
    oids.subjectAltName,
    true,
    sequence(...names.map(([kind, text]) => primitive(kind === 'uri' ? 0x86 : 0x82, Buffer.from(text, 'latin1')))),
  );

const attacks: readonly { readonly name: string; readonly rule: PeerRule; readonly leaf: Buffer }[] = [
  { name: 'two IDs, ours first', rule: 'uri_san_multiple', leaf: hand.leaf({ san: uriSans([api, delivery]) }) },
  { name: 'two IDs, ours last', rule: 'uri_san_multiple', leaf: hand.leaf({ san: uriSans([delivery, api]) }) },
  {
    name: 'CVE-2021-44531: an ID and another URI',
    rule: 'uri_san_multiple',
    leaf: hand.leaf({ san: uriSans(['https://api', api]) }),
  },
  {
    name: 'CVE-2021-44531: a URI of a host',
    rule: 'spiffe_id_invalid',
    leaf: hand.leaf({ san: uriSans(['https://messaging/']) }),
  },
  {
    name: 'CVE-2021-44532: an ID inside a DNS name',
    rule: 'uri_san_missing',
    leaf: hand.leaf({ san: san(['dns', `x, URI:${api}`]) }),
  },
  {
    name: 'CVE-2021-44532: an ID after another, in one URI',
    rule: 'spiffe_id_invalid',
    leaf: hand.leaf({ san: uriSans([`${delivery}, URI:${api}`]) }),
  },
  {
    name: 'CVE-2021-44532: quotes around an ID',
    rule: 'spiffe_id_invalid',
    leaf: hand.leaf({ san: uriSans([`"${api}"`]) }),
  },
  {
    name: 'CVE-2021-44533: an ID as subject',
    rule: 'uri_san_missing',
    leaf: hand.leaf({ san: undefined }, { subject: nameOf(api) }),
  },
  {
    name: 'CVE-2021-44533: a subject that goes on after a line break',
    rule: 'uri_san_missing',
    leaf: hand.leaf({ san: undefined }, { subject: nameOf(`x\nsubjectAltName=URI:${api}`) }),
  },
  { name: 'an ID that NUL cuts', rule: 'spiffe_id_invalid', leaf: hand.leaf({ san: uriSans([`${api}\0.evil`]) }) },
  ...[
    api.replace('spiffe', 'SPIFFE'),
    api.replace(domain, domain.toUpperCase()),
    api.replace('/sa/api', '/sa/%61pi'),
    `${api}/`,
    api.replace('/sa/', '/sa//'),
    api.replace('/sa/api', '/sa/x/../api'),
    api.replace('/sa/api', '/sa/./api'),
    `${api}?x`,
    `${api}#x`,
    api.replace(domain, `${domain}:443`),
    api.replace('spiffe://', 'spiffe://u@'),
  ].map((text) => ({ name: text, rule: 'spiffe_id_invalid' as const, leaf: hand.leaf({ san: uriSans([text]) }) })),
];

function credentials(leaf: Buffer, protocol: string) {
  return {
    cert: [leaf, hand.authority()].map((der) => toPem('CERTIFICATE', der)).join(''),
    key: hand.workload.privateKey.export({ format: 'pem', type: 'pkcs8' }),
    rejectUnauthorized: false,
    ALPNProtocols: [protocol],
  };
}

async function dial(leaf: Buffer, protocol: string): Promise<TLSSocket> {
  const port = mesh.services.messaging.dataPlane.inboundPort!;
  const socket = connect({ host: '127.0.0.1', port, ...credentials(leaf, protocol) });
  socket.on('error', () => {});
  await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]);
  return socket;
}

/** Refused by `rule`. */
const refusedBy = async (rule: string): Promise<number> => {
  const lines = (await mesh.services.messaging.metrics.render()).split('\n');
  const line = lines.find((one) => one.startsWith('cellmesh_tls_handshakes_total') && one.includes(`"${rule}"`));
  return Number(line?.split(' ').at(-1) ?? 0);
};

const ask = () => ({
  path: '/v1/expire',
  method: 'POST',
  authority: `messaging:${mesh.services.messaging.application.port}`,
  body: '',
});

for (const protocol of protocols) {
  describe(`a caller, ${protocol}`, () => {
    for (const { name, rule, leaf } of attacks) {
      test(`${rule}: ${name}`, async () => {
        const { application, records } = mesh.services.messaging;
        const [received, recorded, refused] = [application.received.length, records.length, await refusedBy(rule)];
        assert.equal((await sendRaw(await dial(leaf, protocol), protocol, ask())).status, undefined);
        await eventually(async () => assert.equal(await refusedBy(rule), refused + 1));
        assert.deepEqual([application.received.length, records.length], [received, recorded]);
      });
    }

    test('CVE-2021-44532: whatever stands beside the one ID, that one is who calls', async () => {
      for (const [id, status] of [
        [api, 200],
        [delivery, 403],
      ] as const) {
        for (const leaf of [
          hand.leaf({ san: uriSans([id]) }),
          hand.leaf(
            { san: san(['dns', `x, URI:${api}`], ['uri', id], ['dns', 'api']) },
            { subject: nameOf(`x, URI:${api}`) },
          ),
        ]) {
          const answer = await sendRaw(await dial(leaf, protocol), protocol, ask());
          assert.equal(answer.status, status, answer.body);
          const decision = answer.field('cellmesh-decision');
          await eventually(() => {
            const record = mesh.services.messaging.records.find((one) => one.id === decision);
            assert.equal(record?.peer, id);
          });
          if (status === 200)
            assert.equal(mesh.services.messaging.application.received.at(-1)?.headers['cellmesh-caller'], id);
        }
      }
    });
  });
}

describe('a callee', () => {
  test('whose certificate names two, or another, or its host, gets nothing of a call', async () => {
    const { messaging } = mesh.services;
    const honest = mesh.endpoints.current;
    for (const leaf of [
      hand.leaf({ san: uriSans([messaging.id, delivery]) }),
      hand.leaf({ san: uriSans([delivery]) }),
      hand.leaf({ san: uriSans(['https://messaging/']) }),
      hand.leaf({ san: san(['dns', 'messaging'], ['uri', delivery]) }),
      hand.leaf({ san: san(['dns', `x, URI:${messaging.id}`], ['uri', delivery]) }),
    ]) {
      let heard = 0;
      const server = createServer({ ...credentials(leaf, 'h2'), requestCert: true }, (socket) => {
        socket.on('error', () => {}).on('data', () => heard++);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      mesh.endpoints.set(new Map([...honest, [messaging.id, [{ host: '127.0.0.1', port, locality: '', weight: 1 }]]]));
      const answer = await mesh.services.api.call({
        method: 'POST',
        path: '/v1/expire',
        authority: 'messaging',
        headers: { 'cellmesh-as': 'self' },
      });
      assert.equal(answer.status, 503, answer.body);
      assert.equal(heard, 0, 'not even the preface');
      await new Promise((resolve) => server.close(resolve));
    }
    mesh.endpoints.set(honest);
  });
});
