import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { SharedHandles } from './shared-handles.ts';

/** What a request came with: a verified token, and what is left of its scopes at this hop. */
export interface Credential {
  readonly token: VerifiedToken;
  readonly left: ScopeSet;
}

type HandleLookup =
  | ({ readonly tag: 'found' } & Credential)
  | { readonly tag: 'expired' }
  | { readonly tag: 'unknown' };

const unknown: HandleLookup = { tag: 'unknown' };
const expired: HandleLookup = { tag: 'expired' };

/** Five minutes of distinct credentials at 200 a second; an entry holds a few hundred bytes beside its token. */
const handlesMax = 65_536;
/** How long an ended handle is still told apart from one that never was: enough for whoever asks "why did this stop working". */
export const expiredKeptMs = 5 * 60_000;
const sweepEveryMs = 10_000;
const handlePattern = /^[0-9a-f]{32}$/;
const handleBytes = 16;

interface Entry {
  readonly handle: string;
  readonly key: string;
  readonly endsAt: number;
  /** Undefined once it has ended. */
  credential: ({ readonly tag: 'found' } & Credential) | undefined;
}

interface HandleTableOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly limit?: number;
  /** Tables of this name in this process hold the same handles. Default: only its own. */
  readonly sharedAs?: string | undefined;
}

/**
 * Names for credentials that an application can carry but not use elsewhere. One credential has one handle, so the table is bounded by
 * live tokens and not by requests; a handle ends with its token. When the table is full the oldest entry goes: entries live
 * about as long as each other, so the oldest is the one nearest its end.
 */
export class HandleTable implements Disposable {
  readonly #byHandle = new Map<string, Entry>();
  readonly #byCredential = new Map<string, Entry>();
  /** The entry that a token had last: a key is its whole text, and would be put together and hashed for each request. */
  readonly #lastOf = new WeakMap<VerifiedToken, Entry>();
  /** By the last request: of a text that came with a request the hash would be computed. */
  #found: Entry | undefined;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limit: number;
  readonly #shared: SharedHandles | undefined;
  #evicted = 0;
  #sweepTimer: { cancel(): void } | undefined;

  constructor({ clock, random, limit = handlesMax, sharedAs }: HandleTableOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#limit = limit;
    this.#shared =
      sharedAs === undefined ? undefined : new SharedHandles(sharedAs, (handle, given) => this.#put(handle, given));
    this.#scheduleSweep();
  }

  /** Handles in the table, ended ones included until they are swept. */
  get size(): number {
    return this.#byHandle.size;
  }

  /** Handles that had to go before their token ended. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The handle of `credential`: always the same one for the same token text and the same scopes left. */
  handleOf(credential: Credential): string {
    const { token, left } = credential;
    const last = this.#lastOf.get(token);
    if (last?.credential !== undefined && isSame(last.credential.left, left)) return last.handle;
    const entry = this.#byCredential.get(keyOf(credential)) ?? this.#begin(credential);
    this.#lastOf.set(token, entry);
    return entry.handle;
  }

  find(handle: string, nowMs = this.#clock.now()): HandleLookup {
    // What is in the table is no other text; the pattern is for what is not.
    if (handle.length !== handleBytes * 2) return unknown;
    const last = this.#found;
    const entry = last?.handle === handle ? last : (this.#byHandle.get(handle) ?? this.#findLate(handle));
    if (entry === undefined) return unknown;
    if (entry.credential === undefined || entry.endsAt <= nowMs) {
      this.#end(entry);
      return expired;
    }
    if (entry !== last) this.#found = entry;
    return entry.credential;
  }

  /** Forgets what has ended: credentials at once, the fact that the handle existed after `expiredKeptMs`. */
  sweep(): void {
    const now = this.#clock.now();
    for (const [handle, entry] of this.#byHandle) {
      if (entry.endsAt > now) continue;
      this.#end(entry);
      if (entry.endsAt + expiredKeptMs <= now) this.#forget(handle);
    }
  }

  [Symbol.dispose](): void {
    this.#sweepTimer?.cancel();
    this.#shared?.[Symbol.dispose]();
    this.#byHandle.clear();
    this.#byCredential.clear();
    this.#found = undefined;
  }

  #begin(credential: Credential): Entry {
    const handle = this.#random.bytes(handleBytes).toString('hex');
    const entry = this.#put(handle, credential);
    this.#shared?.tell(handle, credential);
    return entry;
  }

  #put(handle: string, { token, left }: Credential): Entry {
    if (this.#byHandle.size >= this.#limit) this.#evictOldest();
    const credential = { tag: 'found', token, left } as const;
    const entry = { handle, key: keyOf(credential), endsAt: token.expiresAt, credential };
    this.#byHandle.set(handle, entry);
    this.#byCredential.set(entry.key, entry);
    return entry;
  }

  #findLate(handle: string): Entry | undefined {
    if (this.#shared === undefined || !handlePattern.test(handle)) return undefined;
    this.#shared.catchUp();
    return this.#byHandle.get(handle);
  }

  #end(entry: Entry): void {
    if (entry.credential === undefined) return;
    entry.credential = undefined;
    this.#byCredential.delete(entry.key);
  }

  #evictOldest(): void {
    const [handle, entry] = this.#byHandle.entries().next().value ?? [];
    if (handle === undefined || entry === undefined) return;
    if (entry.credential !== undefined) this.#evicted++;
    this.#end(entry);
    this.#forget(handle);
  }

  #forget(handle: string): void {
    this.#byHandle.delete(handle);
    if (this.#found?.handle === handle) this.#found = undefined;
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#clock.schedule(sweepEveryMs, () => {
      this.sweep();
      this.#scheduleSweep();
    });
  }
}

function isSame(a: ScopeSet, b: ScopeSet): boolean {
  return a === b || a.text === b.text;
}

function keyOf({ token, left }: Credential): string {
  return `${left.text} ${token.text.reveal()}`;
}
