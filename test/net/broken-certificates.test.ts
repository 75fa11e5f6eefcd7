import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { parseCertificate } from '#certs/certificate.ts';
import { octetString } from '#certs/der.ts';
import { toPem } from '#certs/pem.ts';
import { parseSpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { TrustBundles } from '#certs/trust-bundle.ts';
import { listenMtls, type Refusal } from '#net/accept.ts';
import { dialMtls } from '#net/dial.ts';
import type { PeerRule } from '#net/peer-refused.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { handmadeCell } from '../support/handmade-cell.ts';
import {
  authorityExtensions,
  basicConstraints,
  extendedKeyUsage,
  extension,
  keyUsage,
  nameOf,
  party,
  uriSans,
} from '../support/handmade-certificates.ts';
import { testAuthority } from '../support/test-authority.ts';

const nowMs = Date.now();
const domain = 'cell-1.example.com';
const hand = handmadeCell(domain, nowMs);
const stranger = handmadeCell(domain, nowMs);
const foreign = handmadeCell('cell-2.example.com', nowMs);
const { leaf, authority, id } = hand;

/** What the peer under test presents; the other end holds `hand.bundles`. */
const broken: readonly { rule: PeerRule; when: string; chain: readonly Buffer[]; bundles?: TrustBundles }[] = [
  { rule: 'uri_san_multiple', when: 'two SPIFFE IDs', chain: [leaf({ san: uriSans([id, `${id}-2`]) }), authority()] },
  {
    rule: 'uri_san_missing',
    when: 'no SPIFFE ID',
    chain: [leaf({ san: undefined }, { subject: nameOf('x') }), authority()],
  },
  { rule: 'spiffe_id_invalid', when: 'an https URI', chain: [leaf({ san: uriSans(['https://a/b']) }), authority()] },
  {
    rule: 'spiffe_id_without_path',
    when: 'the ID of the authority',
    chain: [leaf({ san: uriSans([`spiffe://${domain}`]) }), authority()],
  },
  {
    rule: 'san_not_critical',
    when: 'no subject, SAN not critical',
    chain: [leaf({ san: uriSans([id], false) }), authority()],
  },
  { rule: 'key_usage_missing', when: 'no KeyUsage', chain: [leaf({ usage: undefined }), authority()] },
  {
    rule: 'key_usage_not_critical',
    when: 'KeyUsage not critical',
    chain: [leaf({ usage: keyUsage(['digitalSignature'], false) }), authority()],
  },
  {
    rule: 'leaf_cert_sign',
    when: 'keyCertSign',
    chain: [leaf({ usage: keyUsage(['digitalSignature', 'keyCertSign']) }), authority()],
  },
  {
    rule: 'leaf_crl_sign',
    when: 'cRLSign',
    chain: [leaf({ usage: keyUsage(['digitalSignature', 'cRLSign']) }), authority()],
  },
  { rule: 'leaf_is_authority', when: 'cA', chain: [leaf({ constraints: basicConstraints(true) }), authority()] },
  {
    rule: 'extended_key_usage',
    when: 'a purpose that is neither',
    chain: [leaf({ purposes: extendedKeyUsage('1.3.6.1.5.5.7.3.4') }), authority()],
  },
  {
    rule: 'critical_extension_unknown',
    when: 'an unknown critical extension',
    chain: [leaf({ purposes: extension('1.3.6.1.4.1.99999.1', true, octetString(Buffer.from('x'))) }), authority()],
  },
  { rule: 'expired', when: 'an end two seconds ago', chain: [leaf({}, { notAfter: nowMs - 2000 }), authority()] },
  {
    rule: 'not_yet_valid',
    when: 'a beginning in ten minutes',
    chain: [leaf({}, { notBefore: nowMs + 600_000 }), authority()],
  },
  { rule: 'expired', when: 'an intermediate that ended', chain: [leaf(), authority({ notAfter: nowMs - 2000 })] },
  {
    rule: 'issuer_not_authority',
    when: 'a workload as its issuer',
    chain: [leaf(), authority({ extensions: [keyUsage(['keyCertSign'])] })],
  },
  {
    rule: 'issuer_cert_sign',
    when: 'an issuer without keyCertSign',
    chain: [leaf(), authority({ extensions: [keyUsage(['cRLSign']), basicConstraints(true)] })],
  },
  {
    rule: 'issuer_id',
    when: 'an issuer of another domain',
    chain: [leaf(), authority({ extensions: authorityExtensions('example.com') })],
  },
  {
    rule: 'root_unknown',
    when: 'a stranger as its root',
    chain: [
      stranger.leaf({}, { publicKey: hand.workload.publicKey }),
      stranger.authority({ issuer: party('another root') }),
    ],
  },
  {
    rule: 'signature',
    when: "a stranger under the root's name",
    chain: [stranger.leaf({}, { publicKey: hand.workload.publicKey }), stranger.authority()],
  },
  { rule: 'root_unknown', when: 'no intermediate', chain: [leaf()] },
  {
    rule: 'trust_domain_unknown',
    when: 'a foreign domain',
    chain: [foreign.leaf({}, { publicKey: hand.workload.publicKey }), foreign.authority()],
  },
  {
    rule: 'issuer_id',
    when: "our root's word for a foreign domain that is known",
    bundles: new Map([...hand.bundles, ...foreign.bundles]),
    chain: [leaf({ san: uriSans(['spiffe://cell-2.example.com/ns/a/sa/b']) }), authority()],
  },
];

const cell = await testAuthority(systemClock, domain);
const own = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'delivery'));
function credentials(chain: readonly Buffer[]) {
  return {
    cert: chain.map((der) => toPem('CERTIFICATE', der)).join(''),
    key: hand.workload.privateKey.export({ format: 'pem', type: 'pkcs8' }),
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3' as const,
    ALPNProtocols: ['http/1.1'],
  };
}

/** A TLS server that is not ours, with this chain. */
async function presenting(chain: readonly Buffer[]) {
  const sockets = new Set<TLSSocket>();
  const server = createServer({ ...credentials(chain), requestCert: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dispose = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, [Symbol.asyncDispose]: dispose };
}

for (const { rule, when, chain, bundles = hand.bundles } of broken) {
  test(`${rule}: a client with ${when} is refused by the server`, async () => {
    const refusals: Refusal[] = [];
    await using listener = await listenMtls({
      host: '127.0.0.1',
      port: 0,
      identity: new WatchSource<TlsIdentity>({ svid: own, bundles }),
      alpn: ['http/1.1'],
      anonymous: 'refuse',
      clock: systemClock,
      onConnection: () => assert.fail('it was let in'),
      onRefused: (refusal) => void refusals.push(refusal),
    });
    const socket = connect({ ...listener.address, ...credentials(chain) });
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'close');
    await eventually(() => assert.equal(refusals.length, 1));
    assert.equal(refusals[0]!.rule, rule, refusals[0]!.reason);
    assert.equal(listener.connections.size, 0);
  });

  test(`${rule}: a server with ${when} is refused by the client`, async () => {
    await using server = await presenting(chain);
    const dialing = dialMtls({
      host: '127.0.0.1',
      port: server.port,
      identity: new WatchSource<TlsIdentity>({ svid: own, bundles }),
      expect: () => true,
      alpn: ['http/1.1'],
      clock: systemClock,
    });
    await assert.rejects(dialing, { code: 'peer_refused', rule });
  });
}

test('what breaks no rule is let in, both ways', async () => {
  const peers: string[] = [];
  await using listener = await listenMtls({
    host: '127.0.0.1',
    port: 0,
    identity: new WatchSource<TlsIdentity>({ svid: own, bundles: hand.bundles }),
    alpn: ['http/1.1'],
    anonymous: 'refuse',
    clock: systemClock,
    onConnection: ({ peer }) => void peers.push(peer.id),
    onRefused: ({ reason }) => assert.fail(reason),
  });
  const socket = connect({ ...listener.address, ...credentials([leaf(), authority()]) });
  await eventually(() => assert.deepEqual(peers, [id]));
  socket.destroy();
  await using server = await presenting([leaf(), authority()]);
  const dialled = await dialMtls({
    host: '127.0.0.1',
    port: server.port,
    identity: new WatchSource<TlsIdentity>({ svid: own, bundles: hand.bundles }),
    expect: parseSpiffeId(id),
    alpn: ['http/1.1'],
    clock: systemClock,
  });
  dialled.socket.destroy();
});

test('a root that an unpublished CA signed is trusted as a root, by servers too', async () => {
  const operator = party('operator');
  const sub = handmadeCell(domain, nowMs);
  const root = sub.make({
    issuer: operator,
    subject: sub.root.name,
    publicKey: sub.root.publicKey,
    extensions: authorityExtensions(domain),
  });
  const bundles = new Map([
    [sub.trustDomain, { trustDomain: sub.trustDomain, sequence: 1, roots: [parseCertificate(root)] }],
  ]);
  const svid = {
    id: parseSpiffeId(sub.id),
    chain: [sub.leaf(), sub.authority()].map((der) => parseCertificate(der)),
    privateKey: sub.workload.privateKey,
  };
  const identity = new WatchSource<TlsIdentity>({ svid, bundles });
  const peers: string[] = [];
  await using listener = await listenMtls({
    host: '127.0.0.1',
    port: 0,
    identity,
    alpn: ['http/1.1'],
    anonymous: 'refuse',
    clock: systemClock,
    onConnection: ({ peer }) => void peers.push(peer.id),
    onRefused: ({ reason }) => assert.fail(reason),
  });
  const { socket } = await dialMtls({
    ...listener.address,
    identity,
    expect: svid.id,
    alpn: ['http/1.1'],
    clock: systemClock,
  });
  await eventually(() => assert.deepEqual(peers, [sub.id]));
  socket.destroy();
});
