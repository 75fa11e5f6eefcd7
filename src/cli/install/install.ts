import { readFile } from 'node:fs/promises';
import { Argument, type Command } from 'commander';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { textAt } from '#kubernetes/json.ts';
import { readCellDocument } from '#policy/cell-document.ts';
import { foregroundClock } from '#runtime/clock.ts';
import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { version } from '#runtime/version.ts';
import { Problems, readYaml } from '#runtime/yaml-document.ts';
import { readYamlStream, writeYaml } from '#runtime/yaml-stream.ts';
import { print } from '../output.ts';
import { type Applied, applyAll } from './apply.ts';
import { connect } from './connect.ts';
import { found } from './found.ts';
import {
  definitions,
  type Installation,
  installations,
  type KubernetesObject,
  known,
  namespaceObject,
  objectsOf,
} from './installations.ts';
import { cells, nameOf } from './kinds.ts';
import { readValues } from './values.ts';

interface Options {
  readonly values?: string;
  readonly set: readonly string[];
  readonly cell?: string;
  readonly namespace?: string;
  readonly apply?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly forceConflicts?: boolean;
  readonly json?: boolean;
}

const examples = `
Examples:
  cellmesh install cell --cell cell.yaml --set image.name=registry.example/cellmesh:0.1.0 --apply
  cellmesh install cell --values values.yaml | kubectl diff --server-side -f -
  cellmesh install global --values global.yaml --apply`;

export function addInstall(program: Command): void {
  program
    .command('install')
    .summary('print the objects of an installation in Kubernetes, or apply them')
    .description(
      'Prints what an installation in Kubernetes is made of, or with --apply brings it into the cluster: what is there already is brought up to date. `cell` is the control plane of a cell with the webhook that injects sidecars, `global` identity and routers. The charts in k8s/charts are made of the same (docs/install.md lists the values).',
    )
    .addArgument(new Argument('<what>').choices(Object.keys(installations)))
    .option('--values <file>', 'YAML with values, over the defaults')
    .option('--set <path=value>', 'one value, over those of the file; as often as needed', collect, [])
    .option(
      '--cell <file>',
      '(cell) the document of the cell: it is installed too, and says what `cell` is among the values',
    )
    .option('--namespace <name>', 'where; default: cellmesh, cellmesh-global')
    .option('--apply', 'apply, in place of printing')
    .option('--kubeconfig <file>', 'the cluster; default: KUBECONFIG, ~/.kube/config, or the one around this pod')
    .option('--context <name>', 'a context of it; default: the current one')
    .option('--wait', 'until all pods are ready, and the API server gets answers')
    .option('--timeout <duration>', 'how long pods may take to get ready', '5m')
    .option('--force-conflicts', 'take fields that somebody else has set')
    .option('--json', 'print JSON: the objects as a List, or what became of each')
    .addHelpText('after', examples)
    .action((what: 'cell' | 'global', options: Options) => install(installations[what], options));
}

async function install(installation: Installation, options: Options): Promise<void> {
  const cell = options.cell === undefined ? undefined : await readCell(installation, options.cell);
  const values = readValues(installation.fields, {
    ...(options.values !== undefined && { file: { name: options.values, text: await readText(options.values) } }),
    set: [...(cell?.set ?? []), ...options.set],
  });
  const release = { namespace: options.namespace ?? installation.namespace, managedBy: 'cellmesh', version };
  const objects = [
    known(namespaceObject(release)) as unknown as KubernetesObject,
    ...[...objectsOf(installation, values, release).values()].flat(),
    // A change of it is for the control plane to check: it comes when that is mended.
    ...(cell === undefined ? [] : [cell.object]),
  ];
  const all = { definitions: installation.hasDefinitions ? await definitions() : [], objects };
  if (options.apply) return await apply(all, values, options);
  const items = [...all.definitions, ...objects];
  print({ apiVersion: 'v1', kind: 'List', items }, () => writeYaml(items), options);
}

async function apply(
  all: Parameters<typeof applyAll>[0],
  values: Readonly<Record<string, unknown>>,
  options: Options,
): Promise<void> {
  const timeoutMs = parseDuration(options.timeout);
  if (timeoutMs === undefined) throw new CellmeshError('config_invalid', '--timeout: write 30s or 5m');
  await using client = await connect(options);
  await refuseOtherCell(client, values);
  const applied: Applied[] = [];
  const say = (line: string) => void (options.json || process.stderr.write(`${line}\n`));
  const leftOut = await applyAll(all, {
    client,
    clock: foregroundClock,
    timeoutMs,
    isForced: options.forceConflicts ?? false,
    waits: options.wait ?? false,
    onApplied: (one) => {
      applied.push(one);
      say(`${one.outcome.padEnd(9)}  ${one.object}`);
    },
    onWaiting: (what) => say(`waiting    ${what}`),
  });
  const counts = (['created', 'changed', 'unchanged'] as const).map(
    (outcome) => `${applied.filter((one) => one.outcome === outcome).length} ${outcome}`,
  );
  const names = leftOut.map(nameOf);
  const open = `\nThere is no Cell yet, without which the control plane does not get ready. Left out until then:\n  ${names.join('\n  ')}\nApply one (--cell does) and run this again.`;
  print({ applied, leftOut: names }, () => `${counts.join(', ')}${names.length === 0 ? '' : open}`, options);
}

/** Sidecars of one cell in the cluster of another would get no identity. */
async function refuseOtherCell(client: KubernetesClient, values: Readonly<Record<string, unknown>>): Promise<void> {
  if (values['cell'] === undefined) return;
  const { id, trustDomain, globalTrustDomain } = values['cell'] as Readonly<Record<string, string>>;
  for (const { metadata, spec } of await found(client, cells)) {
    const said = [metadata.name, textAt(spec, 'trustDomain'), textAt(spec, 'domain')].join(', ');
    const given = [id, trustDomain, globalTrustDomain].join(', ');
    if (said === given) continue;
    throw new CellmeshError(
      'config_invalid',
      `the Cell in the cluster is ${said}, the values \`cell\` say ${given}: correct them, or give --cell`,
    );
  }
}

/** The object, and what its values are. */
async function readCell({ name }: Installation, file: string) {
  if (name !== 'cell') throw new CellmeshError('config_invalid', '--cell is for `install cell`');
  const text = await readText(file);
  const problems = new Problems(file);
  const [node, ...others] = readYaml(text, file);
  const cell = node === undefined ? undefined : readCellDocument(node, file, problems);
  problems.throwIfAny();
  if (cell === undefined || others.length > 0)
    throw new CellmeshError('document_invalid', `${file}: one document of kind Cell is expected`);
  const [object] = readYamlStream(text, file)
    .map(({ value }) => value)
    .filter((value) => value !== undefined);
  const set = [`cell.id=${cell.id}`, `cell.trustDomain=${cell.trustDomain}`, `cell.globalTrustDomain=${cell.domain}`];
  return { object: object as KubernetesObject, set };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${file}: ${messageOf(cause)}`, { cause });
  }
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
