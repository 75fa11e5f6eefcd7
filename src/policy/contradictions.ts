import { type SpiffeId, type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import type { Position, Problem } from '#runtime/yaml-document.ts';
import type { Scope } from '#tokens/scope.ts';
import type { CellDocument } from './cell-document.ts';
import { isForeign } from './federation.ts';
import { trustDomainOfPattern } from './id-pattern.ts';
import type { AllowRule, ServicePolicy } from './manifest.ts';
import type { PeerPattern } from './peer-pattern.ts';
import { workloadText } from './workload-name.ts';

/** What does not go together. */
export interface Contradiction extends Problem {
  /** What is named and not there: whom a call is for, or the version that a candidate is beside. Where documents come one by one, it may come later. */
  readonly absent?: 'callee' | 'version';
}

type Add = (policy: { readonly file: string }, at: Position, message: string, absent?: Contradiction['absent']) => void;

/** What no manifest can see alone. */
export function contradictions(cell: CellDocument, policies: readonly ServicePolicy[]): Contradiction[] {
  const problems: Contradiction[] = [];
  const add: Add = ({ file }, { line, column }, message, absent) =>
    problems.push({ file, line, column, message, ...(absent && { absent }) });
  const inForce = policies.filter(({ rollout }) => rollout === undefined);
  const services = checkServices(inForce, add);
  checkCandidates(
    policies.filter(({ rollout }) => rollout !== undefined),
    services,
    add,
  );
  for (const policy of policies) {
    for (const { value, at } of policy.allow) {
      for (const scope of scopesOf(value)) if (!cell.scopes.has(scope)) add(policy, at, unknownScope(scope, cell));
      for (const peer of value.from) checkPeer(peer, cell, (message) => add(policy, at, message));
    }
    for (const { value, at } of policy.calls) {
      if (!services.has(workloadText(value.to)))
        add(policy, at, `no manifest declares ${workloadText(value.to)}`, 'callee');
      for (const scope of [...(value.carry ?? []), ...value.own])
        if (!cell.scopes.has(scope)) add(policy, at, unknownScope(scope, cell));
    }
  }
  for (const { value, at } of cell.ceiling)
    for (const scope of value.scopes) if (!cell.scopes.has(scope)) add(cell, at, unknownScope(scope, cell));
  return problems;
}

function checkServices(policies: readonly ServicePolicy[], add: Add): ReadonlyMap<string, ServicePolicy> {
  const services = new Map<string, ServicePolicy>();
  for (const policy of policies) {
    const service = workloadText(policy);
    const first = services.get(service);
    if (first !== undefined)
      add(policy, policy.at, `a second manifest for ${service}; the first is in ${placeOf(first)}`);
    services.set(service, policy);
  }
  checkHosts(policies, add);
  return services;
}

/** No name means two services to anyone: a name of the cell is one manifest's, and a bare one is it within its namespace. */
function checkHosts(policies: readonly ServicePolicy[], add: Add): void {
  const ofCell = new Map<string, ServicePolicy>();
  /** By name: the first that has it bare, and by namespace. */
  const bare = new Map<string, Map<string, ServicePolicy>>();
  for (const policy of policies) {
    const claim = (host: string, at: Position, owner: ServicePolicy | undefined) => {
      if (owner !== undefined && owner !== policy)
        add(policy, at, `host ${host} belongs to ${workloadText(owner)} already (${owner.file})`);
    };
    for (const { value, at } of policy.hosts) {
      claim(value, at, ofCell.get(value) ?? bare.get(value)?.values().next().value);
      ofCell.set(value, policy);
    }
    const { bareHost, namespace, at } = policy;
    if (bareHost === undefined) continue;
    const owners = bare.get(bareHost) ?? new Map<string, ServicePolicy>();
    claim(bareHost, at, ofCell.get(bareHost) ?? owners.get(namespace));
    bare.set(bareHost, owners.set(namespace, policy));
  }
}

/** What a candidate leaves as it is: fields of `spec`, and what they are read as. */
const fieldsOfService = [
  ['hosts', 'hosts'],
  ['ports', 'ports'],
  ['inbound', 'plaintextUntilMs'],
  ['expose', 'expose'],
  ['calls', 'calls'],
] as const;

/** A candidate is about rules: what else it says must be as it is, or there would be no saying which of the two a request is for. */
function checkCandidates(
  candidates: readonly ServicePolicy[],
  services: ReadonlyMap<string, ServicePolicy>,
  add: Add,
): void {
  const first = new Map<string, ServicePolicy>();
  for (const candidate of candidates) {
    const service = workloadText(candidate);
    const inForce = services.get(service);
    const other = first.get(service);
    first.set(service, candidate);
    if (other !== undefined)
      add(candidate, candidate.at, `a second candidate for ${service}; the first is in ${placeOf(other)}`);
    if (inForce === undefined) {
      add(
        candidate,
        candidate.at,
        `\`rollout\` makes it a candidate, and no manifest of ${service} is in force beside it`,
        'version',
      );
      continue;
    }
    for (const [field, key] of fieldsOfService)
      if (candidate.written.includes(field) && plain(candidate[key]) !== plain(inForce[key]))
        add(
          candidate,
          candidate.at,
          `\`${field}\` differs from ${inForce.file}: a candidate is about \`allow\`, change the rest by itself`,
        );
  }
}

/** An object of Kubernetes is at no line of a file. */
function placeOf({ file, at }: ServicePolicy): string {
  return at.line === 0 ? file : `${file}:${at.line}`;
}

function plain(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => (key === 'at' ? undefined : part));
}

function checkPeer(peer: PeerPattern, cell: CellDocument, add: (message: string) => void): void {
  const { trustDomain } = cell;
  const elsewhere = (id: SpiffeId | string, domain: TrustDomain) => {
    if (domain === trustDomain) return;
    add(`${id} is not of this cell (${trustDomain}); a cell trusts no other cell, and routers are \`router\``);
  };
  if (peer.kind === 'id' && !isForeign(trustDomainOf(peer.id), cell)) elsewhere(peer.id, trustDomainOf(peer.id));
  if (peer.kind !== 'pattern') return;
  const domain = trustDomainOfPattern(peer.pattern);
  if (!isForeign(domain, cell)) elsewhere(peer.pattern.text, domain);
  else add(`${peer.pattern.text}: workloads of another trust domain are named one by one`);
}

function scopesOf({ scopes, anyScope = [] }: AllowRule): readonly Scope[] {
  return [...scopes, ...anyScope];
}

function unknownScope(scope: Scope, cell: CellDocument): string {
  return `scope ${scope} is not in the catalogue of ${cell.file} (Cell.spec.scopes)`;
}
