import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { routerId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, type SpiffeId } from '#certs/spiffe-id.ts';
import { type Reason, statusOf } from '#policy/reasons.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { eventually } from '../../support/eventually.ts';
import { account, router } from '../../support/mint-test-token.ts';
import { sendRaw } from '../../support/raw-request.ts';
import { type Mesh, startMesh } from '../../support/start-mesh.ts';

/*
 * Every token, presented by every peer, on every route of `messaging`, over both versions of HTTP (PAINS.md P14 to P16; istio/api#3597, istio#43982,
 * istio#37294: what is missing passes; istio#24371: 403 where 401 is due), held against rules that are written out plainly
 * here. What the sidecar says, what the application got, and what the record says must agree.
 */

const otherRouter = routerId(parseTrustDomain('cellmesh.localhost'), 'local', 'router-2');
const issuer = 'https://identity.cellmesh.localhost';
const seconds = () => Math.floor(Date.now() / 1000);

const both = ['messages:read', 'messages:write'];
const protocols = ['http/1.1', 'h2'] as const;

let mesh: Mesh;
before(async () => {
  mesh = await startMesh();
});
after(() => mesh[Symbol.asyncDispose]());

interface Token {
  readonly name: string;
  readonly text: () => Promise<string> | undefined;
  /** Why nobody may use it; absent for a token that verifies. */
  readonly fault?: Reason;
  readonly scopes?: readonly string[];
  readonly clientId?: SpiffeId;
}

const claims = () => ({
  iss: issuer,
  sub: account,
  aud: 'cell-1.cellmesh.localhost',
  iat: seconds(),
  exp: seconds() + 300,
  jti: 'matrix',
  client_id: router,
  scope: 'messages:read messages:write',
  account,
  cell_id: 'cell-1',
  cell_epoch: 1,
  gen: 1,
});

function signed(change: object, header: object = {}): Promise<string> {
  const { privateKey, published } = mesh.signingKey;
  return new SignJWT({ ...claims(), ...change })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: published.kid, ...header })
    .sign(privateKey);
}

/** Signed with the public key as if it were a shared secret: the classic confusion of algorithms. */
async function hmac(): Promise<string> {
  const { published } = mesh.signingKey;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part({ alg: 'HS256', typ: 'at+jwt', kid: published.kid })}.${part(claims())}`;
  return `${input}.${createHmac('sha256', JSON.stringify(published.jwk)).update(input).digest('base64url')}`;
}

async function unsigned(signature: string, header: object = { alg: 'none' }): Promise<string> {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ ...header, typ: 'at+jwt', kid: mesh.signingKey.published.kid })}.${part(claims())}.${signature}`;
}

const stranger = (iss: string) => generateSigningKey({ iss, kind: 'cell', owner: router });

const tokens: readonly Token[] = [
  { name: 'no token', text: () => undefined },
  { name: 'a good token', text: () => mesh.mint(), scopes: both },
  {
    name: 'a token that may only write',
    text: () => mesh.mint({ scope: 'messages:write' }),
    scopes: ['messages:write'],
  },
  { name: 'a token without scopes', text: () => mesh.mint({ scope: '' }), scopes: [] },
  {
    name: "another router's token",
    text: () => mesh.mint({ clientId: otherRouter }),
    scopes: both,
    clientId: otherRouter,
  },
  {
    name: 'an expired token',
    text: () => signed({ iat: seconds() - 400, exp: seconds() - 100 }),
    fault: 'token_expired',
  },
  { name: 'a token without exp', text: () => signed({ exp: undefined }), fault: 'token_claims' },
  { name: 'a token whose exp is text', text: () => signed({ exp: '9999999999' }), fault: 'token_claims' },
  { name: 'a token without iat', text: () => signed({ iat: undefined }), fault: 'token_claims' },
  { name: 'a token without iss', text: () => signed({ iss: undefined }), fault: 'token_issuer' },
  { name: 'a token without aud', text: () => signed({ aud: undefined }), fault: 'token_audience' },
  { name: 'a token for several', text: () => signed({ aud: [claims().aud, 'other'] }), fault: 'token_audience' },
  { name: 'a token without sub', text: () => signed({ sub: undefined }), fault: 'token_claims' },
  { name: 'a token without jti', text: () => signed({ jti: undefined }), fault: 'token_claims' },
  { name: 'a token without client_id', text: () => signed({ client_id: undefined }), fault: 'token_claims' },
  { name: 'a token without cell_id', text: () => signed({ cell_id: undefined }), fault: 'token_claims' },
  { name: 'a token without gen', text: () => signed({ gen: undefined }), fault: 'token_claims' },
  { name: 'a token of the future', text: () => signed({ iat: seconds() + 100 }), fault: 'token_not_yet_valid' },
  { name: 'a token that lives an hour', text: () => signed({ exp: seconds() + 3600 }), fault: 'token_claims' },
  { name: 'a token whose scopes are a list', text: () => signed({ scope: both }), fault: 'token_claims' },
  {
    name: 'a token whose scopes are two spaces apart',
    text: () => signed({ scope: both.join('  ') }),
    fault: 'token_claims',
  },
  { name: 'a token without alg', text: () => unsigned('c2ln', {}), fault: 'token_algorithm' },
  { name: 'a token without account', text: () => signed({ account: undefined }), fault: 'token_claims' },
  { name: 'a token without scope', text: () => signed({ scope: undefined }), fault: 'token_claims' },
  { name: "another cell's token", text: () => signed({ aud: 'cell-2.cellmesh.localhost' }), fault: 'token_audience' },
  { name: 'a token that names another cell', text: () => signed({ cell_id: 'cell-2' }), fault: 'token_cell' },
  { name: 'a token of another type', text: () => signed({}, { typ: 'JWT' }), fault: 'token_type' },
  { name: 'an unsigned token', text: () => unsigned(''), fault: 'token_malformed' },
  { name: 'a token of alg none with a signature', text: () => unsigned('c2ln'), fault: 'token_algorithm' },
  { name: 'a token signed with HMAC', text: hmac, fault: 'token_algorithm' },
  {
    name: 'a token of another issuer',
    text: () => mesh.mint({ key: stranger('https://other.example') }),
    fault: 'token_issuer',
  },
  { name: 'a token by an unknown key', text: () => mesh.mint({ key: stranger(issuer) }), fault: 'token_key_unknown' },
  { name: 'text', text: async () => 'not a token', fault: 'token_malformed' },
];

interface Peer {
  readonly name: string;
  readonly id: () => SpiffeId;
  readonly isRouter: boolean;
  /** What its sidecar says is left. */
  readonly left?: string;
}

const peers: readonly Peer[] = [
  { name: 'the router', id: () => router, isRouter: true },
  { name: 'another router', id: () => otherRouter, isRouter: true },
  { name: 'api', id: () => mesh.services.api.id, isRouter: false, left: '1 messages:read messages:write' },
  { name: 'api, with nothing left', id: () => mesh.services.api.id, isRouter: false, left: '1' },
  { name: 'api, without a word of what is left', id: () => mesh.services.api.id, isRouter: false },
  { name: 'delivery', id: () => mesh.services.delivery.id, isRouter: false, left: '1 messages:read messages:write' },
];

const routes = [
  { method: 'GET', path: '/v1/messages', needs: 'messages:read', isForCustomers: true },
  { method: 'POST', path: '/v1/expire', needs: 'messages:expire', isForCustomers: false },
  { method: 'GET', path: '/admin', needs: undefined, isForCustomers: true },
] as const;
type Route = (typeof routes)[number];

/** The reason for a refusal, or undefined: what the manifest in test/support says, in so many words. */
function expected(token: Token, peer: Peer, route: Route): Reason | undefined {
  if (token.fault !== undefined) {
    const isOtherCell = token.fault === 'token_audience' || token.fault === 'token_cell';
    return peer.isRouter && isOtherCell ? 'wrong_cell' : token.fault;
  }
  if (token.scopes !== undefined) {
    if (peer.isRouter && (peer.id() !== router || token.clientId !== undefined)) return 'token_entry';
    if (!peer.isRouter && peer.left === undefined) return 'hop_missing';
  }
  if (route.needs === undefined) return 'route_not_allowed';
  if (peer.id() !== mesh.services.api.id) return 'peer_not_allowed';
  if (token.scopes === undefined) return route.isForCustomers ? 'token_missing' : undefined;
  if (!token.scopes.includes(route.needs)) return 'scope_missing';
  return peer.left!.includes(route.needs) ? undefined : 'scope_not_carried';
}

for (const token of tokens) {
  describe(token.name, () => {
    for (const peer of peers) {
      test(`from ${peer.name}: on every route what the rules say, and nothing else reaches the application`, async () => {
        for (const route of routes)
          for (const protocol of protocols)
            await assertDecided({ token, text: await token.text(), peer, route, protocol });
      });
    }
  });
}

test("GO-2024-2704 (Consul), CVE-2026-33496 (Oathkeeper): what is remembered of a token is nobody's but the token's, in whatever order peers and routes come", async () => {
  // The same texts each time: after the first round all of them are known, good or bad.
  const known = await Promise.all(tokens.map(async (token) => ({ token, text: await token.text() })));
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          token: fc.constantFrom(...known),
          peer: fc.constantFrom(...peers),
          route: fc.constantFrom(...routes),
          protocol: fc.constantFrom(...protocols),
        }),
        { maxLength: 12 },
      ),
      async (steps) => {
        for (const { token, ...step } of steps) await assertDecided({ ...token, ...step });
      },
    ),
    { numRuns: 40 },
  );
});

interface Step {
  readonly token: Token;
  readonly text: string | undefined;
  readonly peer: Peer;
  readonly route: Route;
  readonly protocol: 'http/1.1' | 'h2';
}

async function assertDecided({ token, text, peer, route, protocol }: Step): Promise<void> {
  const { application, records } = mesh.services.messaging;
  const before = application.received.length;
  const { method, path } = route;
  const answer = await sendRaw(await mesh.dialAs(peer.id(), 'messaging', protocol), protocol, {
    method,
    path,
    authority: `messaging:${application.port}`,
    fields: [
      ...(text === undefined ? [] : [['cellmesh-token', text] as const]),
      ...(peer.left === undefined ? [] : [['cellmesh-left', peer.left] as const]),
    ],
    // A POST without a body says so.
    ...(method === 'POST' && { body: '' }),
  });
  const reason = expected(token, peer, route);
  const what = `${token.name} from ${peer.name} for ${method} ${path}`;
  const id = answer.field('cellmesh-decision');
  const record = await eventually(() => {
    const found = records.find((record) => record.id === id);
    assert.ok(found, what);
    return found;
  });
  if (reason === undefined) {
    assert.equal(answer.status, 200, `${what}: ${answer.body}`);
    assert.equal(record.outcome, 'permit', what);
    assert.equal(application.received.length, before + 1, what);
    return;
  }
  assert.deepEqual(JSON.parse(answer.body), { reason, decision: id }, what);
  assert.equal(answer.status, statusOf(reason), what);
  if (answer.status === 401) assert.match(answer.field('www-authenticate') ?? '', /^Bearer realm="cellmesh"/, what);
  assert.deepEqual([record.outcome, record.reason], ['deny', reason], what);
  assert.equal(application.received.length, before, `${what} reached the application`);
}
