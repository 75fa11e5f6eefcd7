import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Endpoint, EndpointsByService } from './endpoints.ts';

/** An instance that could not be reached is tried last for this long: longer than a restart's worst moment, shorter than anybody's patience. */
const avoidedMs = 5_000;

/**
 * Chooses instances: in turn, those that could not be reached a moment ago last. What is known comes from the control plane; what
 * is avoided is this sidecar's own experience, and nobody is ever out for good.
 */
export class CalleeEndpoints {
  readonly #endpoints: Watch<EndpointsByService>;
  readonly #clock: Clock;
  readonly #avoidedUntil = new Map<string, number>();
  #turn = 0;

  constructor(endpoints: Watch<EndpointsByService>, clock: Clock) {
    this.#endpoints = endpoints;
    this.#clock = clock;
    endpoints.subscribe((current) => this.#forgetAllBut(current));
  }

  /** The instances of `service` in the order in which they should be tried; empty when none is known. */
  inOrder(service: SpiffeId): readonly Endpoint[] {
    const all = this.#endpoints.current.get(service) ?? [];
    if (all.length <= 1) return all;
    const start = this.#turn++ % all.length;
    const rotated = [...all.slice(start), ...all.slice(0, start)];
    if (this.#avoidedUntil.size === 0) return rotated;
    const now = this.#clock.now();
    const isAvoided = (endpoint: Endpoint) => (this.#avoidedUntil.get(nameOf(endpoint)) ?? 0) > now;
    return [...rotated.filter((endpoint) => !isAvoided(endpoint)), ...rotated.filter(isAvoided)];
  }

  /** `endpoint` could not be reached. */
  avoid(endpoint: Endpoint): void {
    this.#avoidedUntil.set(nameOf(endpoint), this.#clock.now() + avoidedMs);
  }

  #forgetAllBut(current: EndpointsByService): void {
    const names = new Set([...current.values()].flat().map(nameOf));
    for (const name of this.#avoidedUntil.keys()) if (!names.has(name)) this.#avoidedUntil.delete(name);
  }
}

function nameOf({ host, port }: Endpoint): string {
  return `${host} ${port}`;
}
