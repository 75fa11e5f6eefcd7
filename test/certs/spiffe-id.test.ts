import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  adminId,
  adminNameOf,
  controlPlaneId,
  identityId,
  isReservedId,
  isRouterId,
  routerId,
} from '#certs/reserved-ids.ts';
import {
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  spiffeIdBytesMax,
  trustDomainBytesMax,
  trustDomainOf,
  workloadId,
  workloadOf,
} from '#certs/spiffe-id.ts';

const domainCharacters = new Set('abcdefghijklmnopqrstuvwxyz0123456789.-_');
const pathCharacters = new Set('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_');
const rejected = { code: 'spiffe_id_invalid' };
const trustDomain = parseTrustDomain('cell-1.example.com');

/** Every byte value at each class of position; beside the characters allowed there, a slash may start or divide the path. */
const positions = [
  { where: 'first in the trust domain', make: (c: string) => `spiffe://${c}td/path`, allowed: domainCharacters },
  {
    where: 'inside the trust domain',
    make: (c: string) => `spiffe://t${c}d/path`,
    allowed: domainCharacters,
    slash: true,
  },
  { where: 'last in the trust domain', make: (c: string) => `spiffe://td${c}/path`, allowed: domainCharacters },
  { where: 'alone as the trust domain', make: (c: string) => `spiffe://${c}/path`, allowed: domainCharacters },
  { where: 'first in a segment', make: (c: string) => `spiffe://td/${c}path`, allowed: pathCharacters },
  { where: 'inside a segment', make: (c: string) => `spiffe://td/pa${c}th`, allowed: pathCharacters, slash: true },
  { where: 'last in the path', make: (c: string) => `spiffe://td/path${c}`, allowed: pathCharacters },
  { where: 'in the scheme', make: (c: string) => `spi${c}fe://td/path`, allowed: new Set('f') },
  { where: 'in place of the colon', make: (c: string) => `spiffe${c}//td/path`, allowed: new Set(':') },
  { where: 'in front', make: (c: string) => `${c}spiffe://td/path`, allowed: new Set<string>() },
];

for (const { where, make, allowed, slash } of positions) {
  test(`a SPIFFE ID takes exactly the bytes of the standard ${where}`, () => {
    for (let byte = 0; byte < 256; byte++) {
      const character = String.fromCharCode(byte);
      const text = make(character);
      if (allowed.has(character) || (slash === true && character === '/')) assert.equal(parseSpiffeId(text), text);
      else assert.throws(() => parseSpiffeId(text), rejected, `byte ${byte} ${where}`);
    }
  });
}

test('a trust domain takes exactly the bytes of the standard, at every position', () => {
  for (let byte = 0; byte < 256; byte++) {
    const character = String.fromCharCode(byte);
    for (const text of [character, `${character}td`, `t${character}d`, `td${character}`]) {
      if (domainCharacters.has(character)) assert.equal(parseTrustDomain(text), text);
      else assert.throws(() => parseTrustDomain(text), rejected);
    }
  }
});

for (const text of [
  'spiffe://td',
  'spiffe://1.2.3.4/service',
  'spiffe://td/...',
  'spiffe://td/.x/..y',
  'spiffe://td/a/B/c-d_e.f',
  'spiffe://-/-',
]) {
  test(`accepted: ${text}`, () => assert.equal(parseSpiffeId(text), text));
}

for (const text of [
  '',
  'spiffe:',
  'spiffe://',
  'spiffe:///path',
  'spiffe://td/',
  'spiffe://td//path',
  'spiffe://td/path/',
  'spiffe://td/./path',
  'spiffe://td/../path',
  'spiffe://td/path/..',
  'Spiffe://td/path',
  'SPIFFE://td/path',
  'spiffe://TD/path',
  'spiffe://td:443/path',
  'spiffe://user@td/path',
  'spiffe://[::1]/path',
  'spiffe://td/path?query',
  'spiffe://td/path#fragment',
  'spiffe://td/p%61th',
  'spiffe://td/p\u00e4th',
  'spiffe://td/\u{1f600}',
  'https://td/path',
  ' spiffe://td/path',
]) {
  test(`refused: ${JSON.stringify(text)}`, () => assert.throws(() => parseSpiffeId(text), rejected));
}

test('an ID of 2048 bytes is accepted, one of 2049 refused', () => {
  const id = `spiffe://td/${'a'.repeat(spiffeIdBytesMax - 12)}`;
  assert.equal(parseSpiffeId(id).length, 2048);
  assert.throws(() => parseSpiffeId(`${id}a`), rejected);
});

test('a trust domain of 255 bytes is accepted, one of 256 and an empty one are refused', () => {
  const name = 'a'.repeat(trustDomainBytesMax);
  assert.equal(parseTrustDomain(name), name);
  assert.equal(trustDomainOf(parseSpiffeId(`spiffe://${name}/p`)), name);
  assert.throws(() => parseTrustDomain(`${name}a`), rejected);
  assert.throws(() => parseSpiffeId(`spiffe://${name}a/p`), rejected);
  assert.throws(() => parseTrustDomain(''), rejected);
});

test('a workload ID is taken apart into what it was made of, and nothing else is a workload ID', () => {
  const id = workloadId(trustDomain, 'messaging', 'api');
  assert.equal(id, 'spiffe://cell-1.example.com/ns/messaging/sa/api');
  assert.deepEqual(workloadOf(id), { namespace: 'messaging', serviceAccount: 'api' });
  for (const path of ['', '/ns/a/sa', '/ns/a/sa/b/c', '/NS/a/sa/b', '/x/a/sa/b']) {
    assert.equal(workloadOf(parseSpiffeId(`spiffe://td${path}`)), undefined);
  }
});

test('no segment of a made ID can smuggle in another', () => {
  for (const name of ['a/b', '', '..', '.', 'a b', 'a%2fb']) {
    assert.throws(() => workloadId(trustDomain, name, 'api'), rejected);
    assert.throws(() => adminId(trustDomain, name), rejected);
  }
});

test('reserved IDs are recognized, workloads are not among them', () => {
  const globalTrustDomain = parseTrustDomain('example.com');
  const router = routerId(globalTrustDomain, 'eu-1', 'router-7k2m9q');
  for (const id of [
    controlPlaneId(trustDomain),
    adminId(trustDomain, 'ann'),
    identityId(globalTrustDomain, 'eu-1'),
    router,
  ]) {
    assert.equal(isReservedId(id), true, id);
  }
  assert.equal(isReservedId(workloadId(trustDomain, 'cellmesh', 'control-plane')), false);
  assert.equal(isReservedId(parseSpiffeId('spiffe://td')), false);
  assert.equal(isRouterId(globalTrustDomain, router), true);
  assert.equal(isRouterId(trustDomain, router), false);
  assert.equal(isRouterId(globalTrustDomain, identityId(globalTrustDomain, 'eu-1')), false);
  assert.equal(adminNameOf(trustDomain, adminId(trustDomain, 'ann')), 'ann');
  assert.equal(adminNameOf(globalTrustDomain, adminId(trustDomain, 'ann')), undefined);
  assert.equal(adminNameOf(trustDomain, controlPlaneId(trustDomain)), undefined);
});

test('whatever is accepted consists of its trust domain and its path, and nothing else escapes but the typed error', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }).map((tail) => `spiffe://td/${tail}`),
    fc
      .array(fc.constantFrom('a', '.', '/', '-', 'Z', '%', 'é'), { maxLength: 12 })
      .map((parts) => `spiffe://${parts.join('')}`),
  );
  fc.assert(
    fc.property(text, (candidate) => {
      let id: ReturnType<typeof parseSpiffeId>;
      try {
        id = parseSpiffeId(candidate);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'spiffe_id_invalid');
        return;
      }
      assert.equal(`spiffe://${trustDomainOf(id)}${pathOf(id)}`, candidate);
      assert.equal(parseTrustDomain(trustDomainOf(id)), trustDomainOf(id));
      assert.doesNotMatch(pathOf(id), /\/\/|\/$|\/\.{1,2}(\/|$)|[^a-zA-Z0-9._/-]/);
    }),
    { numRuns: 2000 },
  );
});
