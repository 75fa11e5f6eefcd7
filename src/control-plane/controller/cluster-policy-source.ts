import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { cells, type PolicyObject, servicePolicies, titleOf } from '#kubernetes/resources-policy.ts';
import { compileCell } from '#policy/compile.ts';
import type { Finding } from '#policy/read-object.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { type LoadedCell, type PolicySource, refuseAnotherCell } from '../policy-source.ts';
import type { CellForm, Form } from './policy-form.ts';
import { CellForms, PolicyForms } from './policy-forms.ts';
import { type Resolution, resolvePolicy } from './resolve-policy.ts';

interface ClusterPolicyOptions {
  readonly client: Pick<KubernetesClient, 'list' | 'watch'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What became of one object of the cluster. */
export interface Outcome {
  readonly object: PolicyObject;
  /** What is in force of it; undefined: nothing. */
  readonly inForce: Pick<Form<unknown>, 'generation' | 'spec'> | undefined;
  readonly findings: readonly Finding[];
}

/** All objects, and what became of each. */
export interface Outcomes {
  /** Of the policy in force; empty while there is none. */
  readonly version: string;
  readonly cells: readonly Outcome[];
  readonly policies: readonly Outcome[];
}

/** One `kubectl apply` of many objects is compiled once or twice, and not for each of them. */
const batchMs = 50;
const problemsShownMax = 100;

/**
 * The `Cell` and the `ServicePolicy` objects of a cluster, as one compiled cell. Unlike the files of a directory they are independent of each other:
 * one that is wrong stays as it was, and the others go on changing (`resolvePolicy` says how).
 */
export class ClusterPolicySource implements PolicySource {
  readonly #options: ClusterPolicyOptions;
  readonly #informers: AsyncDisposableStack;
  readonly #cells: Informer<PolicyObject>;
  readonly #policies: Informer<PolicyObject>;
  readonly #unlisted: Set<'cells' | 'policies'> = new Set(['cells', 'policies']);
  readonly #cellForms = new CellForms();
  readonly #policyForms = new PolicyForms();
  readonly #outcomes = new WatchSource<Outcomes>({ version: '', cells: [], policies: [] });
  readonly #loaded = Promise.withResolvers<void>();
  #cell: WatchSource<LoadedCell> | undefined;
  #cellForm: CellForm | undefined;
  #batch: Scheduled | undefined;
  #problems: readonly string[] = ['the API server has not told the objects yet'];

  /** Follows at once. */
  constructor(options: ClusterPolicyOptions) {
    this.#options = options;
    this.#informers = new AsyncDisposableStack();
    const follow = (what: 'cells' | 'policies') =>
      this.#informers.use(
        new Informer({
          ...options,
          resource: what === 'cells' ? cells : servicePolicies,
          keyOf: titleOf,
          onChange: (now, before) =>
            this.#onChange(now, before, what === 'cells' ? this.#cellForms : this.#policyForms),
          onListed: () => this.#onListed(what),
        }),
      );
    this.#cells = follow('cells');
    this.#policies = follow('policies');
  }

  /** Not before it `isLoaded`. */
  get cell(): Watch<LoadedCell> {
    if (this.#cell === undefined) throw new Error('no Cell is in force yet');
    return this.#cell;
  }

  get outcomes(): Watch<Outcomes> {
    return this.#outcomes;
  }

  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Resolves when there is a Cell in force. */
  get whenLoaded(): Promise<void> {
    return this.#loaded.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#batch?.cancel();
    this.#unlisted.add('cells');
    await this.#informers.disposeAsync();
  }

  #onListed(what: 'cells' | 'policies'): void {
    this.#unlisted.delete(what);
    this.#changed();
  }

  /** What is said in the status is ours, but for what it says of the form that is in force. */
  #onChange(now: PolicyObject | undefined, before: PolicyObject | undefined, forms: CellForms | PolicyForms): void {
    // A candidate that another replica has withdrawn: nothing to compile, and somebody to tell.
    if (now?.status.withdrawn?.version !== before?.status.withdrawn?.version) this.#changed();
    const isSame = now?.uid === before?.uid && now?.generation === before?.generation;
    if (isSame && now !== undefined && forms.isSettled(now)) return;
    const saidOf = (one: PolicyObject | undefined) =>
      `${one?.status.accepted?.generation} ${one?.status.observedGeneration}`;
    if (!isSame || saidOf(now) !== saidOf(before)) this.#changed();
  }

  #changed(): void {
    if (this.#unlisted.size > 0) return;
    this.#batch ??= this.#options.clock.schedule(batchMs, () => {
      this.#batch = undefined;
      if (this.#unlisted.size === 0) this.#take();
    });
  }

  #take(): void {
    const cellObjects = this.#cells.objects();
    const policyObjects = this.#policies.objects();
    const { chosen, others } = this.#chooseCell(cellObjects);
    const policies = policyObjects.map((object) => ({ object, versions: this.#policyForms.versionsOf(object) }));
    const resolution =
      chosen &&
      resolvePolicy(
        chosen.versions,
        policies.map(({ versions }) => versions),
      );
    if (resolution !== undefined) {
      this.#enter(resolution);
      for (const { object, versions } of policies) {
        const { inForce } = resolution.rulings.get(versions.title)!;
        if (inForce !== undefined) this.#policyForms.take(object, inForce);
      }
      if (chosen?.object !== undefined && resolution.cell.inForce !== undefined)
        this.#cellForms.take(chosen.object, resolution.cell.inForce);
    }
    this.#cellForms.sweep(cellObjects);
    this.#policyForms.sweep(policyObjects);
    const ruled = policies.map(({ object, versions }) => {
      const ruling = resolution?.rulings.get(versions.title);
      return { object, inForce: ruling?.inForce, findings: ruling?.findings ?? versions.newest.findings };
    });
    const ofCell = chosen?.object && {
      object: chosen.object,
      inForce: resolution?.cell.inForce,
      findings: resolution?.cell.findings ?? [],
    };
    this.#tell([...(ofCell ? [ofCell] : []), ...others], ruled);
  }

  /**
   * There is one cell in a cluster. Of several objects none becomes it: it is the one that is it already, and otherwise nobody's guess. One that
   * has gone is still the cell of a control plane that runs.
   */
  #chooseCell(objects: readonly PolicyObject[]) {
    const all = objects.map((object) => ({ object, versions: this.#cellForms.versionsOf(object) }));
    const isRunning = ({ versions }: (typeof all)[number]) => {
      const document = (versions.newest.read ?? versions.accepted?.read)!;
      try {
        if (this.#cell !== undefined && document !== undefined)
          refuseAnotherCell(this.#cell.current.document, document);
        return undefined;
      } catch (error) {
        return messageOf(error);
      }
    };
    const refusals = new Map(all.map((one) => [one, isRunning(one)]));
    const possible = all.filter((one) => refusals.get(one) === undefined);
    const accepted = possible.filter(({ versions }) => versions.accepted !== undefined);
    const chosen = possible.length === 1 ? possible[0] : accepted.length === 1 ? accepted[0] : undefined;
    const names = all.map(({ object }) => object.name).join(', ');
    const others = all
      .filter((one) => one !== chosen)
      .map((one): Outcome => {
        const message = refusals.get(one) ?? `a cluster has one Cell, and here are several: ${names}`;
        return { object: one.object, inForce: undefined, findings: [{ message }] };
      });
    if (chosen !== undefined || this.#cellForm === undefined) return { chosen, others };
    const { read, ...gone } = this.#cellForm;
    const form = { ...gone, read };
    return {
      chosen: { object: undefined, versions: { title: read!.file, createdAt: '', newest: form, accepted: form } },
      others,
    };
  }

  #enter({ cell, policies, rulings }: Resolution): void {
    const document = cell.inForce?.read;
    if (document === undefined) return;
    const { logger } = this.#options;
    this.#cellForm = cell.inForce;
    const compiled = compileCell(document, policies);
    const before = this.#cell?.current.compiled.version;
    if (compiled.version === before) return;
    const forms = [...rulings].flatMap(([title, { inForce }]) => (inForce ? [[title, inForce.text] as const] : []));
    const files = new Map([
      ['cell.yaml', cell.inForce!.text],
      ...forms.map(([title, text]) => [fileOf(title), text] as const),
    ]);
    const loaded = { document, policies, compiled, files };
    logger.info('policy in force', { version: compiled.version, ...(before !== undefined && { before }) });
    if (this.#cell === undefined) {
      this.#cell = new WatchSource<LoadedCell>(loaded);
      this.#loaded.resolve();
    } else this.#cell.set(loaded);
  }

  #tell(cellOutcomes: readonly Outcome[], policyOutcomes: readonly Outcome[]): void {
    const all = [...cellOutcomes, ...policyOutcomes];
    const problems = all.flatMap(({ object, findings }) =>
      findings.map(({ field, message }) => `${titleOf(object)}: ${field === undefined ? '' : `${field}: `}${message}`),
    );
    if (cellOutcomes.length === 0) problems.unshift('there is no Cell object in the cluster');
    const told = problems.slice(0, problemsShownMax);
    if (told.join() !== this.#problems.join() && told.length > 0)
      this.#options.logger.error('objects are not in force as they are written', { problems: told });
    this.#problems = told;
    this.#outcomes.set({
      version: this.#cell?.current.compiled.version ?? '',
      cells: cellOutcomes,
      policies: policyOutcomes,
    });
  }
}

/** As a file of a directory would be called; namespaces have no dots. */
function fileOf(title: string): string {
  return `${title.slice(title.indexOf(' ') + 1).replace('/', '.')}.policy.yaml`;
}
