import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { DecisionRing } from '#feeds/decision-ring.ts';
import { noTarget, parseCanonicalPath } from '#policy/canonical-path.ts';
import { type CompiledCell, compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { systemClock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { decidedRecord } from './decided-record.ts';

const directory = join(import.meta.dirname, '../../examples/messaging/policy');
export const manifestTexts: ReadonlyMap<string, string> = new Map(
  readdirSync(directory)
    .filter((file) => !file.endsWith('.test.yaml'))
    .map((file) => [file, readFileSync(join(directory, file), 'utf8')]),
);

export function compiledTexts(texts: ReadonlyMap<string, string>): CompiledCell {
  const { cell, policies } = readManifests(texts);
  return compileCell(cell, policies);
}

const router = parseSpiffeId('spiffe://cellmesh.localhost/router/local/r1');
const startMs = Date.UTC(2026, 10, 1);
const accounts = 50_000;
const tokens = 1_000;
const linesPerFlush = 2_000;

const scopes = ['messages:read', 'messages:write', 'deliveries:create', 'deliveries:read'].map(parseScope);
/** Customers that may do everything, and some that may not. */
const held = [scopes, scopes, scopes.slice(0, 1), scopes.slice(1), []].map((some) => ScopeSet.of(some));

interface Hop {
  readonly from: SpiffeId;
  readonly to: string;
  readonly method: string;
  readonly path: (n: number) => string | undefined;
}

const workload = (name: string) => parseSpiffeId(`spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/${name}`);
const hops: readonly Hop[] = [
  { from: router, to: 'api', method: 'GET', path: (n) => `/v1/messages/${n}` },
  { from: router, to: 'api', method: 'POST', path: () => '/v1/messages' },
  { from: workload('api'), to: 'messaging', method: 'GET', path: (n) => `/messages/${n}` },
  { from: workload('api'), to: 'messaging', method: 'POST', path: () => '/messages' },
  { from: workload('messaging'), to: 'delivery', method: 'POST', path: () => '/deliveries' },
  { from: workload('messaging'), to: 'delivery', method: 'GET', path: (n) => `/deliveries/${n}` },
  { from: workload('messaging'), to: 'store', method: 'CONNECT', path: () => undefined },
  { from: workload('delivery'), to: 'carrier', method: 'POST', path: () => '/messaging.carrier.v1.Carrier/Send' },
];

/**
 * Fills rings with decisions as sidecars of the example write them, always the same for the same count: some of 50,000 customers, a path of its own
 * for almost every request, one in seven refused.
 */
export async function writeManyDecisions(to: string, count: number): Promise<void> {
  const compiled = compiledTexts(manifestTexts);
  const policies = new Map([...compiled.snapshots].map(([id, snapshot]) => [id, new InboundPolicy(snapshot)]));
  await using ring = await DecisionRing.open({
    ...{ directory: to, clock: systemClock, logger: silentLogger },
    ...{ segments: 1_000_000, segmentBytes: 64 * 1024 * 1024 },
  });
  const kept = Array.from({ length: tokens }, (_, n) => tokenOf(n));
  let random = 1;
  for (let n = 0; n < count; n++) {
    // Numerical Recipes' linear congruential generator: the same everywhere.
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    const hop = hops[(random >>> 8) % hops.length]!;
    const path = hop.path(n);
    const policy = policies.get(workload(hop.to))!;
    const call = compiled.snapshots.get(hop.from)?.calls.find(({ id }) => id === workload(hop.to));
    const { ports } = policy.snapshot.service;
    const token =
      path === undefined ? undefined : { ...kept[(random >>> 12) % tokens]!, account: accountOf(random >>> 4) };
    const carry = call?.carry === undefined ? token?.scopes : token?.scopes.intersect(ScopeSet.of(call.carry));
    const record = decidedRecord(
      policy,
      {
        ...{ peer: hop.from, isRouter: hop.from === router, port: ports[0]!.port, method: hop.method },
        ...{ path: path === undefined ? noTarget.path : parseCanonicalPath(path), token, nowMs: startMs + n * 100 },
        left: hop.from === router ? undefined : carry,
      },
      n,
    );
    const { path: written, ...connection } = record;
    ring.append(JSON.stringify(written === '' ? connection : record));
    if (n % linesPerFlush === 0) await ring.flush();
  }
}

function accountOf(n: number) {
  return parseAccountId(`AC${String(n % accounts).padStart(32, '0')}`);
}

function tokenOf(n: number): VerifiedToken {
  return {
    ...{ kind: 'cell', issuer: 'https://identity.cellmesh.localhost', kid: 'k', subject: accountOf(n) },
    ...{ audience: 'cell-1.cellmesh.localhost', clientId: router, id: `token-${n}`, issuedAt: 0, expiresAt: 1 },
    ...{ scopes: held[n % held.length]!, claims: {}, text: new Secret('t') },
  };
}
