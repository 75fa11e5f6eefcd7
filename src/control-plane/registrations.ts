import type { DatabaseSync } from 'node:sqlite';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import type { Endpoint } from '#net/endpoints.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';

export const registrationMigration = `
CREATE TABLE registrations (
  service TEXT NOT NULL,
  instance TEXT NOT NULL,
  host TEXT NOT NULL,
  port INTEGER NOT NULL,
  locality TEXT NOT NULL,
  weight INTEGER NOT NULL,
  PRIMARY KEY (service, instance)
) STRICT;`;

interface RegistrationsOptions {
  readonly database: DatabaseSync;
  readonly clock: Clock;
  /** The instances of a service have changed. */
  readonly onChanged: (service: SpiffeId) => void;
}

/**
 * An instance whose stream has gone is kept this long: a sidecar that lost its control plane still serves, and one that is gone is avoided
 * by its callers at once. Longer than a reconnect takes at worst, so that a restart of the control plane takes nobody's endpoints away.
 */
const goneAfterMs = 15_000;

interface Entry {
  readonly endpoint: Endpoint;
  expiry: Scheduled | undefined;
}

/** Where the instances of services can be reached, as they said themselves. Kept in the database over a restart. */
export class Registrations implements Disposable {
  readonly #options: RegistrationsOptions;
  readonly #services = new Map<SpiffeId, Map<string, Entry>>();

  constructor(options: RegistrationsOptions) {
    this.#options = options;
    const rows = options.database
      .prepare('SELECT service, instance, host, port, locality, weight FROM registrations')
      .all();
    for (const row of rows as unknown as (Endpoint & { service: string; instance: string })[]) {
      const { service, instance, host, port, locality, weight } = row;
      const id = parseSpiffeId(service);
      this.#instances(id).set(instance, {
        endpoint: { host, port, locality, weight },
        expiry: this.#expire(id, instance),
      });
    }
  }

  endpointsOf(service: SpiffeId): readonly Endpoint[] {
    return [...(this.#services.get(service)?.values() ?? [])].map(({ endpoint }) => endpoint);
  }

  endpointOf(service: SpiffeId, instance: string): Endpoint | undefined {
    return this.#services.get(service)?.get(instance)?.endpoint;
  }

  /** Whether any instance is reached at this host. */
  hasHost(host: string): boolean {
    for (const instances of this.#services.values())
      for (const { endpoint } of instances.values()) if (endpoint.host === host) return true;
    return false;
  }

  register(service: SpiffeId, instance: string, endpoint: Endpoint): void {
    const instances = this.#instances(service);
    const known = instances.get(instance);
    known?.expiry?.cancel();
    instances.set(instance, { endpoint, expiry: undefined });
    if (known !== undefined && JSON.stringify(known.endpoint) === JSON.stringify(endpoint)) return;
    const { host, port, locality, weight } = endpoint;
    this.#options.database
      .prepare(
        'INSERT OR REPLACE INTO registrations (service, instance, host, port, locality, weight) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(service, instance, host, port, locality, weight);
    this.#options.onChanged(service);
  }

  /** The stream that registered it has ended. */
  lost(service: SpiffeId, instance: string): void {
    const entry = this.#services.get(service)?.get(instance);
    if (entry === undefined) return;
    entry.expiry?.cancel();
    entry.expiry = this.#expire(service, instance);
  }

  /** Nobody is to choose it any more. */
  remove(service: SpiffeId, instance: string): void {
    const instances = this.#services.get(service);
    instances?.get(instance)?.expiry?.cancel();
    if (instances?.delete(instance) !== true) return;
    this.#options.database
      .prepare('DELETE FROM registrations WHERE service = ? AND instance = ?')
      .run(service, instance);
    this.#options.onChanged(service);
  }

  [Symbol.dispose](): void {
    for (const instances of this.#services.values()) for (const { expiry } of instances.values()) expiry?.cancel();
  }

  #expire(service: SpiffeId, instance: string): Scheduled {
    return this.#options.clock.schedule(goneAfterMs, () => this.remove(service, instance));
  }

  #instances(service: SpiffeId): Map<string, Entry> {
    const instances = this.#services.get(service) ?? new Map<string, Entry>();
    this.#services.set(service, instances);
    return instances;
  }
}
