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
  readonly #byToken = new WeakMap<VerifiedToken, Written>();
  /** For the last request. */
  #last: Written | undefined;

  lines(told: Told): string {
    const { token } = told;
    if (token === undefined) return write(told);
    let written = this.#last;
    if (written !== undefined && isOf(written, told)) return written.lines;
    written = this.#byToken.get(token);
    if (written === undefined || !isOf(written, told)) {
      written = { ...told, lines: write(told) };
      this.#byToken.set(token, written);
    }
    this.#last = written;
    return written.lines;
  }
}

function isOf(written: Written, { token, caller, granted, handle }: Told): boolean {
  return (
    written.token === token && written.caller === caller && written.granted === granted && written.handle === handle
  );
}

function write({ token, caller, granted, handle }: Told): string {
  return fieldLines({
    'cellmesh-account': token?.account,
    'cellmesh-caller': caller,
    'cellmesh-scope': granted.text,
    'cellmesh-context': handle,
  });
}
