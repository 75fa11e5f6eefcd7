import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import { Balancer } from './balancer.ts';
import type { Instance } from './member.ts';

interface BalancersOptions<Service extends string, I extends Instance> {
  readonly instances: Watch<ReadonlyMap<Service, readonly I[]>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly locality: string;
}

/** A balancer for each service that has been called and still has instances. What is known of them comes from the control plane. */
export class Balancers<Service extends string, I extends Instance> {
  readonly #options: BalancersOptions<Service, I>;
  readonly #balancers = new Map<Service, Balancer<I>>();

  constructor(options: BalancersOptions<Service, I>) {
    this.#options = options;
    options.instances.subscribe((current) => this.#follow(current));
  }

  /** Instances that are left out at this moment. */
  get ejected(): number {
    let ejected = 0;
    for (const balancer of this.#balancers.values()) ejected += balancer.ejected;
    return ejected;
  }

  of(service: Service): Balancer<I> {
    let balancer = this.#balancers.get(service);
    if (balancer === undefined) {
      balancer = new Balancer<I>(this.#options);
      balancer.update(this.#options.instances.current.get(service) ?? []);
      this.#balancers.set(service, balancer);
    }
    return balancer;
  }

  #follow(current: ReadonlyMap<Service, readonly I[]>): void {
    for (const [service, balancer] of this.#balancers) {
      const instances = current.get(service);
      if (instances === undefined) this.#balancers.delete(service);
      else balancer.update(instances);
    }
  }
}
