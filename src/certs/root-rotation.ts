import { activeRoot, type Root, type Roots } from './roots.ts';

/** How roots of a trust domain are rotated; times in milliseconds. */
export interface RotationRules {
  /** The share of the active root's life after which the next one is made. */
  readonly beginAfter: number;
  /** How long a new root is in the bundle at least before it signs: those who are cut off at the moment may hear of it later. */
  readonly publishMsMin: number;
  /** The longest that an SVID lives. */
  readonly svidLifetimeMs: number;
}

/** Somebody who has not taken the bundle with the new root yet. */
export interface Listener {
  readonly name: string;
  /** It is waited for no longer than this; absent: for as long as the root in use allows. */
  readonly waitMsMax?: number;
}

/** What is to be done now. */
type RotationStep =
  | { readonly kind: 'rest' }
  /** @property until when the minimum time has passed; it may have, then only `for` holds it up */
  | { readonly kind: 'wait'; readonly for: readonly string[]; readonly until: number }
  | { readonly kind: 'prepare' | 'publish' | 'retire' }
  /** `without`: who has not heard of it, and is not waited for any longer. */
  | { readonly kind: 'activate'; readonly without: readonly string[] };

/** Away from a root that is not to be trusted nobody is waited for longer. */
export const urgentWaitMsMax = 10_000;
/**
 * An issuer whose new intermediate is late goes on with the one before for this share of an SVID's lifetime, and what it issues then lives
 * for a lifetime more.
 */
export const handoverShare = 1 / 12;
/** So many lifetimes of an SVID before the root in use ends, the next one signs whoever has not heard of it. */
const overdueLifetimes = 2;

/** What comes next. Everything that it depends on is an argument: asked again after a restart it says the same. */
export function nextStep(
  roots: Roots,
  now: number,
  rules: RotationRules,
  listeners: readonly Listener[],
): RotationStep {
  if (roots.roots.some(({ until }) => until !== undefined && now >= until)) return { kind: 'retire' };
  const next = nextRoot(roots);
  if (next === undefined) return { kind: now >= beginsAt(roots, rules) ? 'prepare' : 'rest' };
  return next.phase === 'prepared' ? { kind: 'publish' } : activation(roots, next, now, rules, listeners);
}

/** When the next rotation begins by itself. */
export function beginsAt(roots: Roots, { beginAfter }: RotationRules): number {
  const { notBefore, notAfter } = activeRoot(roots).certificate;
  return notBefore + (notAfter - notBefore) * beginAfter;
}

/** The root that is to sign next, if a rotation has begun. */
export function nextRoot({ roots }: Roots): Root | undefined {
  return roots.find(({ phase }) => phase === 'prepared' || phase === 'published');
}

/** A new root is kept, before anybody hears of it. */
export function prepare(roots: Roots, root: Root): Roots {
  return { ...roots, roots: [...roots.roots, root] };
}

/** From now on the bundle holds it. */
export function publish(roots: Roots, now: number): Roots {
  const published = roots.roots.map((root) =>
    root.phase === 'prepared' ? { ...root, phase: 'published' as const, since: now } : root,
  );
  return changed({ ...roots, roots: published }, now);
}

/**
 * From now on it signs. The one before loses its key, and stays in the bundle until no SVID below it can be alive; after an urgent rotation
 * the intermediates stay in its place.
 */
export function activate(roots: Roots, now: number, { svidLifetimeMs }: RotationRules): Roots {
  const until = now + svidLifetimeMs * (1 + handoverShare);
  const former = roots.isUrgent ? ('replaced' as const) : ('retiring' as const);
  const activated = roots.roots.map((root) => {
    if (root.phase === 'published') return { ...root, phase: 'active' as const, since: now };
    if (root.phase === 'active') return { ...root, phase: former, since: now, until, privateKey: undefined };
    return root;
  });
  return changed({ ...roots, roots: activated, isUrgent: false }, now);
}

/** Takes out what nobody can need any more. */
export function retire(roots: Roots, now: number): Roots {
  const left = roots.roots.filter(({ until }) => until === undefined || now < until);
  return changed({ ...roots, roots: left }, now);
}

/** A bundle's sequence rises with every change of it, over a loss of the state too. */
function changed(roots: Roots, now: number): Roots {
  return { ...roots, sequence: Math.max(roots.sequence + 1, Math.floor(now / 1000)) };
}

function activation(
  roots: Roots,
  next: Root,
  now: number,
  { publishMsMin, svidLifetimeMs }: RotationRules,
  listeners: readonly Listener[],
): RotationStep {
  const isOverdue = now >= activeRoot(roots).certificate.notAfter - overdueLifetimes * svidLifetimeMs;
  const isWaitedFor = ({ waitMsMax = Number.POSITIVE_INFINITY }: Listener) =>
    !isOverdue && now < next.since + (roots.isUrgent ? Math.min(waitMsMax, urgentWaitMsMax) : waitMsMax);
  const waited = listeners.filter(isWaitedFor).map(({ name }) => name);
  const until = roots.isUrgent || isOverdue ? next.since : next.since + publishMsMin;
  if (waited.length > 0 || now < until) return { kind: 'wait', for: waited, until };
  return { kind: 'activate', without: listeners.map(({ name }) => name) };
}
