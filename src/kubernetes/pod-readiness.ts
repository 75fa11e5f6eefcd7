import type { Pod } from './resources.ts';

/**
 * Which addresses are of pods that must not get requests. Pods may share an address (that of their node): it is ready as long as one of them
 * is. An address of nobody's is not ours to judge: machines outside of the cluster are in the mesh too.
 */
export class PodReadiness {
  /** By address, then by uid: whether the pod is ready. */
  readonly #addresses = new Map<string, Map<string, boolean>>();
  readonly #onChanged: (address: string) => void;

  /** @param onChanged what `isReady` says of an address has changed */
  constructor(onChanged: (address: string) => void) {
    this.#onChanged = onChanged;
  }

  isReady(address: string): boolean {
    const pods = this.#addresses.get(address);
    return pods === undefined || [...pods.values()].includes(true);
  }

  update(now: Pod | undefined, before: Pod | undefined): void {
    const addresses = [...new Set([...addressesOf(before), ...addressesOf(now)])];
    const was = addresses.map((address) => this.isReady(address));
    for (const address of addressesOf(before)) this.#remove(address, before!.uid);
    for (const address of addressesOf(now)) this.#add(address, now!.uid, isReady(now!));
    const changed = addresses.filter((address, index) => this.isReady(address) !== was[index]);
    for (const address of changed) this.#onChanged(address);
  }

  #add(address: string, uid: string, isPodReady: boolean): void {
    const pods = this.#addresses.get(address) ?? new Map<string, boolean>();
    this.#addresses.set(address, pods.set(uid, isPodReady));
  }

  #remove(address: string, uid: string): void {
    const pods = this.#addresses.get(address);
    pods?.delete(uid);
    if (pods?.size === 0) this.#addresses.delete(address);
  }
}

/** A pod that goes serves what it has, and gets nothing new; as in EndpointSlices. */
function isReady({ isReady: isReported, isTerminating }: Pod): boolean {
  return isReported && !isTerminating;
}

/** One that has ended keeps its address in its status while others have it already. */
function addressesOf(pod: Pod | undefined): readonly string[] {
  return pod === undefined || pod.hasEnded ? [] : pod.addresses;
}
