import type { Facts } from '#cli/check/facts.ts';
import type { RootsReport } from '#cli/roots.ts';
import type { Case } from './cases.ts';
import { dayMs, nowMs, restingRoots, root, wellOnMachine } from './well-facts.ts';

const hourMs = 3600_000;

function rotating(change: Partial<RootsReport>): Facts {
  const rotation = { rotatesAt: undefined, ...change };
  return { ...wellOnMachine, rotations: [{ of: 'the cell', roots: { value: { ...restingRoots, ...rotation } } }] };
}

const waiting = { waitsFor: ['spiffe://a', 'spiffe://b'], waitsUntil: new Date(nowMs - hourMs).toISOString() };
const published = root('published', nowMs - 2 * hourMs);

export const rotationCases: readonly Case[] = [
  {
    name: 'one that waits for somebody who is away',
    facts: rotating({ ...waiting, roots: [root('active', nowMs - 300 * dayMs), published] }),
    verdict: 'warn',
    says: /waits for spiffe:\/\/a, spiffe:\/\/b; the root in use ends in 65 d/,
  },
  {
    name: 'one that waits while the root ends',
    facts: rotating({ ...waiting, roots: [root('active', nowMs - 340 * dayMs), published] }),
    verdict: 'fail',
    says: /the root in use ends in 25 d/,
  },
  {
    name: 'a new root that nobody gets',
    facts: rotating({ roots: [root('active', nowMs - 300 * dayMs), root('prepared', nowMs - hourMs)] }),
    verdict: 'fail',
    says: /does not get into the trust bundle/,
  },
  {
    name: 'an old root that stays',
    facts: rotating({
      roots: [root('active', nowMs - dayMs), root('retiring', nowMs - 2 * dayMs, nowMs - hourMs)],
    }),
    verdict: 'fail',
    says: /should have gone 1 h ago/,
  },
  {
    name: 'one that has not begun',
    facts: rotating({ rotatesAt: new Date(nowMs - dayMs).toISOString() }),
    verdict: 'fail',
    says: /should have begun/,
  },
  {
    name: 'a root that has ended',
    facts: rotating({ roots: [root('active', nowMs - 366 * dayMs)] }),
    verdict: 'fail',
    says: /no root that signs/,
  },
  {
    name: 'no answer',
    facts: { ...wellOnMachine, rotations: [{ of: 'the cell', roots: { unknown: 'ECONNREFUSED' } }] },
    verdict: 'unknown',
    says: /ECONNREFUSED/,
  },
];

/** Rotations that are under way, and go well. */
export const wellRotating: readonly Facts[] = [
  rotating({ ...waiting, waitsUntil: new Date(nowMs).toISOString(), roots: [restingRoots.roots[0]!, published] }),
  rotating({ roots: [restingRoots.roots[0]!, root('prepared', nowMs - 1_000)] }),
  rotating({ roots: [root('active', nowMs - hourMs), root('retiring', nowMs - hourMs, nowMs + hourMs)] }),
  rotating({}),
];
