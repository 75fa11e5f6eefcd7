import { cpus } from 'node:os';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { readDocuments } from '#policy/read-documents.ts';
import type { InboundRequest } from '#policy/rule.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScopeList } from '#tokens/scope.ts';

/**
 * What reading, compiling and one decision cost with 1, 100 and 10,000 rules: `node bench/decide.ts [--json]`. Half of the requests are allowed, by rules all over the
 * manifest; the other half is denied. Medians of rounds; bytes are what the young generation grew by.
 */
const trustDomain = parseTrustDomain('cell-1.example');
const callers = 50;
const peerOf = (at: number): SpiffeId => workloadId(trustDomain, 'ns', `caller-${at % callers}`);
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

function ruleAt(at: number): string {
  const path = at % 2 === 0 ? `/v1/resource-${at}/*` : `/v1/*/part-${at}`;
  const methods = at % 3 === 0 ? 'GET' : 'POST, GET';
  return `    - { name: r${at}, from: [ns/caller-${at % callers}], http: { methods: [${methods}], paths: ["${path}"] }, scopes: [messages:read] }`;
}

function manifestsOf(rules: number): string {
  const head = (name: string) =>
    `apiVersion: cellmesh.io/v1alpha1\nkind: ServicePolicy\nmetadata: { name: ${name}, namespace: ns }\nspec:\n  serviceAccount: ${name}\n  mode: enforce\n`;
  const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { messages:read: Read messages., messages:write: Write messages. }
`;
  const service = `${head('service')}  ports: [{ port: 8080, protocol: http }]\n  allow:\n${Array.from({ length: rules }, (_, at) => ruleAt(at)).join('\n')}\n`;
  const calling = Array.from(
    { length: callers },
    (_, at) => `${head(`caller-${at}`)}  ports: [{ port: 8080, protocol: http }]\n  calls: [{ to: ns/service }]\n`,
  );
  return [cell, service, ...calling].join('---\n');
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
  const text = manifestsOf(rules);
  const times: number[] = [];
  const timed = <T>(work: () => T): T => {
    const from = process.hrtime.bigint();
    const result = work();
    times.push(Number(process.hrtime.bigint() - from) / 1e6);
    return result;
  };
  const { cells, policies } = timed(() => readDocuments(text, 'cell.yaml'));
  const { snapshots } = timed(() => compileCell(cells[0]!, policies));
  const snapshot = snapshots.get(workloadId(trustDomain, 'ns', 'service'))!;
  const policy = timed(() => new InboundPolicy(snapshot));
  const [readMs, compileMs, indexMs] = times.map((ms) => Math.round(ms * 10) / 10);
  const requests = requestsFor(rules);
  const [allowed, denied] = [0, 1].map((half) => requests.filter((_, at) => at % 2 === half));
  const nsOf = (some: readonly InboundRequest[]) => {
    const rounds = Array.from({ length: 60 }, () => {
      const from = process.hrtime.bigint();
      for (let turns = 0; turns < 20; turns++) for (const request of some) policy.decide(request);
      return Number(process.hrtime.bigint() - from) / (20 * some.length);
    });
    return Math.round(median(rounds.slice(10)));
  };
  const [allowedNs, deniedNs] = [nsOf(allowed!), nsOf(denied!)];
  const before = process.memoryUsage().heapUsed;
  for (const request of allowed!) policy.decide(request);
  const bytesAPermit = Math.max(0, Math.round((process.memoryUsage().heapUsed - before) / allowed!.length));
  return { rules, readMs, compileMs, indexMs, allowedNs, deniedNs, bytesAPermit };
}

const results = [1, 100, 10_000].map(measure);
if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
else {
  process.stdout.write(`${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}\n`);
  for (const { rules, readMs, compileMs, indexMs, allowedNs, deniedNs, bytesAPermit } of results)
    process.stdout.write(
      `${String(rules).padStart(6)} rules: read in ${readMs} ms, compiled in ${compileMs} ms, indexed in ${indexMs} ms; allowed ${allowedNs} ns (${bytesAPermit} bytes), denied ${deniedNs} ns\n`,
    );
}
