import type { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { fieldLine } from '#wire/field-lines.ts';
import { formatLeft } from './hop.ts';

/** The field lines by which a customer's token goes on to the next hop. Many requests carry one token, and the same is left of it. */
export class CarriedToken {
  readonly #lineOf = new WeakMap<VerifiedToken, string>();
  /** Of the last request. */
  #token: VerifiedToken | undefined;
  #left = '';
  #lines = '';

  lines(token: VerifiedToken, left: ScopeSet): string {
    if (token !== this.#token || left.text !== this.#left) {
      this.#token = token;
      this.#left = left.text;
      // Joined, it is one piece of memory: it is copied with each request.
      this.#lines = [this.#tokenLine(token), 'cellmesh-left: ', formatLeft(left), '\r\n'].join('');
    }
    return this.#lines;
  }

  /** Checked once, and the same string for whoever writes it to find. */
  #tokenLine(token: VerifiedToken): string {
    let line = this.#lineOf.get(token);
    if (line === undefined) {
      line = fieldLine('cellmesh-token', token.text.reveal());
      this.#lineOf.set(token, line);
    }
    return line;
  }
}
