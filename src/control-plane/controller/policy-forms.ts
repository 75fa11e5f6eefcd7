import { type PolicyObject, titleOf } from '#kubernetes/resources-policy.ts';
import type { CellDocument } from '#policy/cell-document.ts';
import type { ServicePolicy } from '#policy/manifest.ts';
import { unpackSpec } from './packed-spec.ts';
import { type Form, readCellForm, readPolicyForm } from './policy-form.ts';
import type { Versions } from './resolve-policy.ts';

type Read<T> = (object: PolicyObject, spec: unknown, generation: number) => Form<T>;

/**
 * The forms of objects of one kind, each read once. What was accepted last is what the status says, which all replicas see; until the leader has
 * looked at a generation that this replica has had in force meanwhile, it is that one.
 */
class Forms<T> {
  readonly #read: Read<T>;
  /** By uid and generation. */
  #known = new Map<string, Form<T>>();
  #used = new Map<string, Form<T>>();
  /** By uid: what this replica has, or had, in force. */
  readonly #taken = new Map<string, Form<T>>();

  constructor(read: Read<T>) {
    this.#read = read;
  }

  versionsOf(object: PolicyObject): Versions<T> {
    const { uid, generation, createdAt } = object;
    const newest = this.#form(uid, generation, () => this.#read(object, object.spec, generation));
    return { title: titleOf(object), createdAt, newest, accepted: this.#acceptedOf(object, newest) };
  }

  /** Whether all that can be said of it is: what it says is in force, and its status says so. */
  isSettled({ uid, generation, status }: PolicyObject): boolean {
    return this.#taken.get(uid)?.generation === generation && status.accepted?.generation === generation;
  }

  /** This is in force now. */
  take({ uid }: PolicyObject, form: Form<T>): void {
    this.#taken.set(uid, form);
    this.#used.set(`${uid} ${form.generation}`, form);
  }

  /** Forgets what nobody asked for since the last time. */
  sweep(objects: readonly PolicyObject[]): void {
    this.#known = this.#used;
    this.#used = new Map();
    const uids = new Set(objects.map(({ uid }) => uid));
    for (const uid of this.#taken.keys()) if (!uids.has(uid)) this.#taken.delete(uid);
  }

  #acceptedOf(object: PolicyObject, newest: Form<T>): Form<T> | undefined {
    const { uid, status } = object;
    const { accepted, observedGeneration } = status;
    const taken = this.#taken.get(uid);
    const isAhead = taken !== undefined && taken.generation > (accepted?.generation ?? 0);
    if (isAhead && taken.generation > observedGeneration) return taken;
    if (accepted === undefined) return undefined;
    if (accepted.generation === newest.generation) return newest;
    return this.#form(uid, accepted.generation, () =>
      this.#read(object, unpackSpec(accepted.spec), accepted.generation),
    );
  }

  #form(uid: string, generation: number, read: () => Form<T>): Form<T> {
    const key = `${uid} ${generation}`;
    const form = this.#used.get(key) ?? this.#known.get(key) ?? read();
    this.#used.set(key, form);
    return form;
  }
}

export class PolicyForms extends Forms<ServicePolicy> {
  constructor() {
    super(readPolicyForm);
  }
}

export class CellForms extends Forms<CellDocument> {
  constructor() {
    super(readCellForm);
  }
}
