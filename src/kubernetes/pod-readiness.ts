import type { Pod } from './resources.ts';

/** By the port of a sidecar: whether one of the pods that have theirs there is ready. Undefined: of pods in which we know of no sidecar, which may listen at any port. */
type Ports = ReadonlyMap<number | undefined, boolean>;

/**
 * Which addresses and ports are of pods that must not get requests. Pods may share an address (that of their node): then it is the port that says whose
 * an instance is, and where no port is known it is ready as long as one of them is. What is nobody's is not ours to judge: machines outside of the
 * cluster are in the mesh too.
 */
export class PodReadiness {
  /** By address, then by uid. */
  readonly #addresses = new Map<string, Map<string, Pod>>();
  readonly #onChanged: (address: string) => void;

  /** @param onChanged what `isReady` says of an address has changed */
  constructor(onChanged: (address: string) => void) {
    this.#onChanged = onChanged;
  }

  isReady(address: string, port: number): boolean {
    return isReadyAt(this.#portsAt(address), port);
  }

  update(now: Pod | undefined, before: Pod | undefined): void {
    const addresses = [...new Set([...addressesOf(before), ...addressesOf(now)])];
    const was = addresses.map((address) => this.#portsAt(address));
    for (const address of addressesOf(before)) this.#remove(address, before!.uid);
    for (const address of addressesOf(now)) this.#add(address, now!);
    const changed = addresses.filter((address, index) => areDifferent(this.#portsAt(address), was[index]!));
    for (const address of changed) this.#onChanged(address);
  }

  #portsAt(address: string): Ports {
    const ports = new Map<number | undefined, boolean>();
    for (const pod of this.#addresses.get(address)?.values() ?? [])
      ports.set(pod.sidecarPort, ports.get(pod.sidecarPort) === true || isReady(pod));
    return ports;
  }

  #add(address: string, pod: Pod): void {
    const pods = this.#addresses.get(address) ?? new Map<string, Pod>();
    this.#addresses.set(address, pods.set(pod.uid, pod));
  }

  #remove(address: string, uid: string): void {
    const pods = this.#addresses.get(address);
    pods?.delete(uid);
    if (pods?.size === 0) this.#addresses.delete(address);
  }
}

function isReadyAt(ports: Ports, port: number | undefined): boolean {
  return ports.get(port) ?? ports.get(undefined) ?? true;
}

function areDifferent(now: Ports, was: Ports): boolean {
  return [undefined, ...now.keys(), ...was.keys()].some((port) => isReadyAt(now, port) !== isReadyAt(was, port));
}

/** A pod that goes serves what it has, and gets nothing new; as in EndpointSlices. */
function isReady({ isReady: isReported, isTerminating }: Pod): boolean {
  return isReported && !isTerminating;
}

/** One that has ended keeps its address in its status while others have it already. */
function addressesOf(pod: Pod | undefined): readonly string[] {
  return pod === undefined || pod.hasEnded ? [] : pod.addresses;
}
