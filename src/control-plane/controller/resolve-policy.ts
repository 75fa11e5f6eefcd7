import type { CellDocument } from '#policy/cell-document.ts';
import { contradictions } from '#policy/contradictions.ts';
import type { ServicePolicy } from '#policy/manifest.ts';
import type { Finding } from '#policy/read-object.ts';
import { workloadText } from '#policy/workload-name.ts';
import type { Problem } from '#runtime/yaml-document.ts';
import type { CellForm, Form, PolicyForm } from './policy-form.ts';

/** An object as it is asked about. */
export interface Versions<T> {
  /** How it is called in messages: of no two objects alike. */
  readonly title: string;
  /** Orders those that are new. */
  readonly createdAt: string;
  readonly newest: Form<T>;
  /** What was accepted last; of the generation of `newest` when that was it. Undefined: nothing ever was. */
  readonly accepted: Form<T> | undefined;
}

/** What becomes of one object. */
interface Ruling<T> {
  /** Undefined: nothing of it. */
  readonly inForce: Form<T> | undefined;
  readonly findings: readonly Finding[];
}

export interface Resolution {
  readonly cell: Ruling<CellDocument>;
  /** What is to be compiled; it holds together. */
  readonly policies: readonly ServicePolicy[];
  /** By title. */
  readonly rulings: ReadonlyMap<string, Ruling<ServicePolicy>>;
}

/**
 * What is in force of objects that may be wrong, by themselves or beside each other. The same objects give the same on every replica:
 * - what can be read and holds together is in force as it is written last;
 * - what cannot be read, or contradicts others, stays as it was accepted last, and so it is out when it never was. Of two that want the same, the
 *   one that has it keeps it; of two that are new, the older one gets it;
 * - what was accepted and contradicts others by a change of theirs wins over the change of the Cell; else it is out.
 * - A call of a service that has no manifest in force contradicts nothing: the rest of its caller's is in force, and the call is when there is one.
 * So nothing is ever wider than its author has once said. Without a Cell in force nothing is.
 */
export function resolvePolicy(cell: Versions<CellDocument>, policies: readonly Versions<ServicePolicy>[]): Resolution {
  const resolving = new Resolving(cell, policies);
  while (!resolving.isSettled());
  return resolving.result();
}

interface Chosen {
  readonly versions: Versions<ServicePolicy>;
  form: PolicyForm | undefined;
  findings: Finding[];
}

class Resolving {
  readonly #cell: Versions<CellDocument>;
  readonly #policies: readonly Chosen[];
  readonly #byTitle: ReadonlyMap<string, Chosen>;
  cellInForce: CellForm | undefined;
  #cellFindings: readonly Finding[];
  /** Calls of callees that are not there. */
  #absent: readonly Problem[] = [];

  constructor(cell: Versions<CellDocument>, policies: readonly Versions<ServicePolicy>[]) {
    this.#cell = cell;
    this.cellInForce = firstReadable(cell);
    this.#cellFindings = cell.newest.findings;
    this.#policies = [...policies].sort(byAge).map((versions) => ({
      versions,
      form: firstReadable(versions),
      findings: [...versions.newest.findings],
    }));
    this.#byTitle = new Map(this.#policies.map((one) => [one.versions.title, one]));
  }

  /** Whether all holds together; if not, one step is made towards it. */
  isSettled(): boolean {
    const document = this.cellInForce?.read;
    if (document === undefined) return true;
    const found = contradictions(document, this.#inForce());
    this.#absent = found.filter(({ absent }) => absent === 'callee');
    const problems = found.filter(({ absent }) => absent !== 'callee');
    if (problems.length === 0) return true;
    const byFile = Map.groupBy(problems, ({ file }) => file);
    const ofCell = byFile.get(this.#cell.title);
    if (ofCell !== undefined) return this.#cellBack(ofCell);
    const blamed = [...byFile].map(([title, some]) => ({ one: this.#byTitle.get(title)!, problems: some }));
    const changed = blamed.filter(({ one }) => isChange(one));
    if (changed.length > 0) for (const { one, problems } of changed) this.#back(one, problems);
    else if (this.#isCellChanged()) return this.#cellBack(problems);
    else for (const { one, problems } of blamed) this.#out(one, problems);
    return false;
  }

  result(): Resolution {
    const absent = Map.groupBy(this.#absent, ({ file }) => file);
    const rulings = this.#policies.map(({ versions: { title }, form, findings }) => {
      const left = (absent.get(title) ?? []).map((problem) => form!.findingOf(problem));
      return [title, { inForce: form, findings: [...findings, ...left] }] as const;
    });
    return {
      cell: { inForce: this.cellInForce, findings: this.#cellFindings },
      policies: withoutAbsentCalls(this.#inForce()),
      rulings: new Map(rulings),
    };
  }

  /** Those that have what they want come first: `contradictions` blames whoever comes later. */
  #inForce(): readonly ServicePolicy[] {
    const [changes, rest] = [this.#policies.filter(isChange), this.#policies.filter((one) => !isChange(one))];
    return [...rest, ...changes].flatMap(({ form }) => form?.read ?? []);
  }

  #isCellChanged(): boolean {
    const { newest, accepted } = this.#cell;
    return this.cellInForce === newest && accepted?.read !== undefined && accepted.generation !== newest.generation;
  }

  #cellBack(problems: readonly Problem[]): false {
    const { title, accepted } = this.#cell;
    const form = this.cellInForce!;
    this.#cellFindings = problems.map((problem) =>
      problem.file === title ? form.findingOf(problem) : { message: `${problem.file}: ${problem.message}` },
    );
    this.cellInForce = this.#isCellChanged() ? accepted : undefined;
    return false;
  }

  #back(one: Chosen, problems: readonly Problem[]): void {
    one.findings = problems.map((problem) => one.form!.findingOf(problem));
    const { accepted } = one.versions;
    one.form = accepted?.read === undefined ? undefined : accepted;
  }

  #out(one: Chosen, problems: readonly Problem[]): void {
    const found = problems.map((problem) => one.form!.findingOf(problem));
    one.findings = [...one.findings, ...found];
    one.form = undefined;
  }
}

function withoutAbsentCalls(policies: readonly ServicePolicy[]): readonly ServicePolicy[] {
  const inForce = policies.filter(({ rollout }) => rollout === undefined);
  const services = new Set(inForce.map((policy) => workloadText(policy)));
  return policies.map((policy) => {
    const calls = policy.calls.filter(({ value }) => services.has(workloadText(value.to)));
    return calls.length === policy.calls.length ? policy : { ...policy, calls };
  });
}

/** Whether what is chosen is another form than the one that was accepted. */
function isChange({ form, versions: { newest, accepted } }: Chosen): boolean {
  return form === newest && accepted?.generation !== newest.generation;
}

function firstReadable<T>({ newest, accepted }: Versions<T>): Form<T> | undefined {
  return [newest, accepted].find((form) => form?.read !== undefined);
}

function byAge(a: Versions<unknown>, b: Versions<unknown>): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.title < b.title ? -1 : 1;
}
