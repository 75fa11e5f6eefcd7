import { cpus } from 'node:os';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { parsePathPattern } from '#policy/path-pattern.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { PolicySnapshot, SnapshotRule } from '#policy/snapshot.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { parseScope, parseScopeList } from '#tokens/scope.ts';

/**
 * What one decision costs with 1, 100 and 10,000 rules: `node bench/decide.ts [--json]`. Half of the requests are allowed, by rules all over the
 * manifest; the other half is denied. Medians of rounds; bytes are what the young generation grew by.
 */
const trustDomain = parseTrustDomain('cell-1.example');
const peerOf = (at: number): SpiffeId => workloadId(trustDomain, 'ns', `caller-${at % 50}`);
const scope = parseScope('messages:read');
const token = {
  kind: 'cell' as const,
  issuer: 'https://i',
  kid: 'k',
  subject: 's',
  audience: trustDomain,
  clientId: 'c',
  id: 'jti',
  issuedAt: 0,
  expiresAt: 1,
  scopes: parseScopeList('messages:read messages:write'),
  account: parseAccountId(`AC${'0'.repeat(32)}`),
  claims: {},
  text: new Secret('t'),
};

function ruleAt(at: number): SnapshotRule {
  return {
    name: `r${at}`,
    ids: [peerOf(at)],
    idPatterns: [],
    isRouterAllowed: false,
    isAnyAllowed: false,
    methods: at % 3 === 0 ? ['GET'] : ['POST', 'GET'],
    paths: [parsePathPattern(at % 2 === 0 ? `/v1/resource-${at}/*` : `/v1/*/part-${at}`)],
    scopes: [scope],
    account: 'required',
    claims: [],
    limits: [],
    sensitive: false,
  };
}

function snapshotOf(rules: number): PolicySnapshot {
  const id = workloadId(trustDomain, 'ns', 'service');
  return {
    version: 'v1',
    cell: { id: parseCellId('cell-1'), trustDomain, domain: parseTrustDomain('example'), tokenIssuer: 'https://i' },
    service: { id, name: 'ns/service', hosts: ['service'], ports: [{ port: 8080, protocol: 'http' }] },
    mode: 'enforce',
    rules: Array.from({ length: rules }, (_, at) => ruleAt(at)),
    callers: Array.from({ length: 50 }, (_, at) => ({ id: peerOf(at), own: [] })),
    undeclared: [],
    calls: [],
  };
}

/** As a sidecar makes them: paths are strings of their own, peers those of their certificates. */
function requestsFor(rules: number): InboundRequest[] {
  return Array.from({ length: 1_000 }, (_, n) => {
    const at = (n * 7919) % rules;
    const isAllowed = n % 2 === 0;
    const path = at % 2 === 0 ? `/v1/resource-${at}/${n}` : `/v1/${n}/part-${at}`;
    return {
      peer: peerOf(isAllowed ? at : at + 1),
      isRouter: false,
      port: 8080,
      method: 'GET',
      path: parseCanonicalPath(path),
      token,
      left: token.scopes,
      nowMs: 1,
    };
  });
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;

function measure(rules: number) {
  const snapshot = snapshotOf(rules);
  const started = process.hrtime.bigint();
  const policy = new InboundPolicy(snapshot);
  const compileMs = Number(process.hrtime.bigint() - started) / 1e6;
  const requests = requestsFor(rules);
  const [allowed, denied] = [0, 1].map((half) => requests.filter((_, at) => at % 2 === half));
  const nsOf = (some: readonly InboundRequest[]) => {
    const rounds = Array.from({ length: 60 }, () => {
      const from = process.hrtime.bigint();
      for (let times = 0; times < 20; times++) for (const request of some) policy.decide(request);
      return Number(process.hrtime.bigint() - from) / (20 * some.length);
    });
    return Math.round(median(rounds.slice(10)));
  };
  const result = {
    rules,
    compileMs: Math.round(compileMs * 10) / 10,
    allowedNs: nsOf(allowed!),
    deniedNs: nsOf(denied!),
  };
  const before = process.memoryUsage().heapUsed;
  for (const request of allowed!) policy.decide(request);
  const bytes = Math.max(0, Math.round((process.memoryUsage().heapUsed - before) / allowed!.length));
  return { ...result, bytesAPermit: bytes };
}

const results = [1, 100, 10_000].map(measure);
if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
else {
  process.stdout.write(`${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}\n`);
  for (const { rules, compileMs, allowedNs, deniedNs, bytesAPermit } of results)
    process.stdout.write(
      `${String(rules).padStart(6)} rules: compiled in ${compileMs} ms; allowed ${allowedNs} ns (${bytesAPermit} bytes), denied ${deniedNs} ns\n`,
    );
}
