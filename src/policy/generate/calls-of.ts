import type { Scope } from '#tokens/scope.ts';
import { scopesOf } from './rules-of.ts';
import type { Seen, SeenCall, SeenRequests } from './seen.ts';

/** A call of a generated manifest. */
export interface GeneratedCall {
  readonly to: string;
  readonly carry: readonly Scope[];
  readonly own: readonly Scope[];
}

/**
 * The calls of every workload that made some, by its name: each carries what requests needed at the callee, and what the callee itself carried on,
 * as far as that was left there. Of calls that only the caller recorded, all that went along.
 */
export function callsOf({ services, calls }: Seen): ReadonlyMap<string, readonly GeneratedCall[]> {
  const used = new Map<string, { carry: Set<Scope>; own: Set<Scope> }>();
  for (const [callee, { ports }] of services) {
    for (const { paths, connections } of ports.values()) {
      for (const route of [...paths.patterns().map(([, route]) => route), connections])
        for (const seen of route.values()) noteUse(used, `${seen.peer} ${callee}`, seen);
    }
  }
  const edges = [...calls].map(([key, call]) => {
    const [from = '', to = ''] = key.split(' ');
    const { carry = new Set<Scope>(), own = new Set<Scope>() } = used.get(key) ?? {};
    return { from, to, call, own, carry: call.wasReceived ? carry : carry.union(call.sent) };
  });
  carryOn(edges);
  const byCaller = Map.groupBy(edges, ({ from }) => from);
  return new Map(
    [...byCaller].map(([from, some]) => [
      from,
      some
        .map(({ to, carry, own }) => ({ to, carry: [...carry].sort(), own: [...own].sort() }))
        .sort((a, b) => (a.to < b.to ? -1 : 1)),
    ]),
  );
}

function noteUse(used: Map<string, { carry: Set<Scope>; own: Set<Scope> }>, key: string, seen: SeenRequests): void {
  let use = used.get(key);
  if (use === undefined) {
    use = { carry: new Set(), own: new Set() };
    used.set(key, use);
  }
  const scopes = [...scopesOf(seen), ...seen.anyUsed];
  if (seen.withCustomer > 0) for (const scope of scopes) use.carry.add(scope);
  if (seen.withCustomer < seen.requests) for (const scope of scopes) use.own.add(scope);
}

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly call: SeenCall;
  carry: Set<Scope>;
}

/** What a callee carries on has to come to it: until nothing is added any more. */
function carryOn(edges: readonly Edge[]): void {
  const byCaller = Map.groupBy(edges, ({ from }) => from);
  for (let isGrowing = true; isGrowing; ) {
    isGrowing = false;
    for (const edge of edges) {
      for (const { carry } of byCaller.get(edge.to) ?? []) {
        const grown = edge.carry.union(carry.intersection(edge.call.left));
        isGrowing ||= grown.size > edge.carry.size;
        edge.carry = grown;
      }
    }
  }
}
