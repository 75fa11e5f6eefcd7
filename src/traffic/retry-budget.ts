/** Retries for each request, and how many may come at once however few requests there were. */
const share = 0.2;
const reserve = 10;
/** Beyond this a long calm does not save up for a storm. */
const balanceMax = 100;

/**
 * Keeps retries below a fifth of the requests: an upstream that fails them all must not get a multiple of its load just then (a "retry storm").
 */
export class RetryBudget {
  #balance = reserve;

  /** Each request pays in a share of a retry. */
  deposit(): void {
    this.#balance = Math.min(balanceMax, this.#balance + share);
  }

  /** Takes one retry out; false when there is none. */
  withdraw(): boolean {
    if (this.#balance < 1) return false;
    this.#balance--;
    return true;
  }
}
