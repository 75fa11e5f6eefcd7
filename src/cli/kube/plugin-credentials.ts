import type { CredentialPlugin } from '#kubernetes/credential-plugin.ts';
import type { CredentialSource, Credentials } from '#kubernetes/credential-source.ts';
import type { Clock } from '#runtime/clock.ts';
import { runCredentialPlugin } from './credential-plugin.ts';
import type { MadeCredentials } from './exec-credential.ts';

/** A call that begins now must not end with credentials that have ended; such as do not live long are good for half of it. */
const aheadMs = 60_000;

/** The credentials that a plugin makes, one run for all who need them at a time. */
export class PluginCredentials implements CredentialSource {
  readonly #plugin: CredentialPlugin;
  readonly #clock: Clock;
  #made: MadeCredentials | undefined;
  #goodUntilMs = 0;
  #making: Promise<MadeCredentials> | undefined;
  /** Whoever is refused with credentials that were made because of a refusal is refused for good. */
  #mayRenew = true;

  constructor(plugin: CredentialPlugin, clock: Clock) {
    this.#plugin = plugin;
    this.#clock = clock;
  }

  async current(): Promise<Credentials> {
    if (this.#making !== undefined) return await this.#making;
    if (this.#made !== undefined && this.#clock.now() < this.#goodUntilMs) return this.#made;
    this.#mayRenew = true;
    return await this.#make();
  }

  async renew(refused: Credentials): Promise<boolean> {
    if (this.#making !== undefined) return (await this.#making) !== refused;
    if (this.#made !== refused) return true;
    if (!this.#mayRenew) return false;
    this.#mayRenew = false;
    await this.#make();
    return true;
  }

  async #make(): Promise<MadeCredentials> {
    this.#making = runCredentialPlugin(this.#plugin, this.#clock);
    try {
      this.#made = await this.#making;
      const { expiresAtMs = Number.POSITIVE_INFINITY } = this.#made;
      this.#goodUntilMs = Math.max(expiresAtMs - aheadMs, (this.#clock.now() + expiresAtMs) / 2);
      return this.#made;
    } finally {
      this.#making = undefined;
    }
  }
}
