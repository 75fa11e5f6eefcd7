import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { fieldLines } from '#wire/field-lines.ts';

/** What was verified of a request. */
interface Told {
  readonly token: VerifiedToken | undefined;
  readonly caller: SpiffeId;
  readonly granted: ScopeSet;
  readonly handle: string | undefined;
}

interface Written extends Told {
  readonly lines: string;
}

/**
 * The field lines by which an application learns what was verified. Many requests carry the same token from the same caller: their lines are
 * checked and put together once, which a request would feel.
 */
export class ToldToApplication {
  readonly #last = new WeakMap<VerifiedToken, Written>();

  lines(told: Told): string {
    const { token, caller, granted, handle } = told;
    if (token === undefined) return write(told);
    const last = this.#last.get(token);
    if (last !== undefined && last.caller === caller && last.granted === granted && last.handle === handle) {
      return last.lines;
    }
    const lines = write(told);
    this.#last.set(token, { ...told, lines });
    return lines;
  }
}

function write({ token, caller, granted, handle }: Told): string {
  return fieldLines({
    'cellmesh-account': token?.account,
    'cellmesh-caller': caller,
    'cellmesh-scope': granted.text,
    'cellmesh-context': handle,
  });
}
