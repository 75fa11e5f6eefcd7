import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Certificate } from './certificate.ts';
import type { IntermediateSource } from './intermediate.ts';
import type { Listener } from './root-rotation.ts';
import type { RootStore } from './root-store.ts';
import type { TrustDomain } from './spiffe-id.ts';
import type { TrustBundle } from './trust-bundle.ts';

interface RootStatus {
  readonly phase: string;
  readonly serial: string;
  /** All in milliseconds since the epoch. */
  readonly since: number;
  readonly until: number | undefined;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface RootsStatus {
  readonly sequence: number;
  readonly roots: readonly RootStatus[];
  /** Who has to hear of the new root before it signs; and not before when. Undefined while no root waits for that. */
  readonly waits: { readonly for: readonly string[]; readonly until: number } | undefined;
  /** When the next rotation begins by itself; undefined for a root that is not rotated here. */
  readonly beginsAt: number | undefined;
}

/** Whoever holds the roots of a trust domain: what to trust, and signatures on intermediates. */
export interface RootHolder extends Disposable {
  readonly bundle: Watch<TrustBundle>;
  readonly intermediates: IntermediateSource;
  status(): RootsStatus;
  /**
   * Begins a rotation, or goes on with the one under way. `isUrgent`: the root in use is not to be trusted, nobody is waited for.
   * @throws CellmeshError `rotation_refused`
   */
  rotate(isUrgent: boolean): Promise<void>;
  /** From now on roots are rotated; `listeners` says who has not taken the bundle in force. */
  follow(listeners: () => readonly Listener[]): void;
}

export function statusOf({ serial, notBefore, notAfter }: Certificate, phase: string): RootStatus {
  return { phase, serial, since: notBefore, until: undefined, notBefore, notAfter };
}

/** What to do when a root that lies in `store` has ended. */
export function remedyOf({ recovery }: Pick<RootStore, 'recovery'>): string {
  return `make a new one with \`${recovery}\`, which says who must join again`;
}

/**
 * @param remedy what to do
 * @throws CellmeshError `root_expired`
 */
export function refuseExpired(
  { notAfter }: Certificate,
  { trustDomain, clock }: { readonly trustDomain: TrustDomain; readonly clock: Clock },
  remedy: string,
): void {
  if (clock.now() <= notAfter) return;
  throw new CellmeshError(
    'root_expired',
    `the root of ${trustDomain} ended ${new Date(notAfter).toISOString()}, and with it every SVID below it; ${remedy}`,
  );
}
