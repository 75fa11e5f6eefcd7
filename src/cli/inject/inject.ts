import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { annotationOf, annotationSettings } from '#control-plane/injector/annotations.ts';
import { type InjectorSettings, injectorSettings } from '#control-plane/injector/settings.ts';
import { environmentNameOf, fallbackText, flagOf, loadConfig } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { print } from '../output.ts';
import { injectManifests, nameOf } from './inject-manifests.ts';
import type { Injected } from './inject-objects.ts';

interface Options {
  readonly filename: string;
  readonly config?: string;
  readonly json?: boolean;
  readonly [setting: string]: unknown;
}

const examples = `
Examples:
  cellmesh inject -f deploy.yaml --config injector.yaml | kubectl apply -f -
  helm template my-chart | cellmesh inject -f - --config injector.yaml`;

/** What the webhook does, without a cluster: for CI, and for whoever wants to see it. */
export function addInject(program: Command): void {
  const command = program
    .command('inject')
    .summary('add sidecars to the pods of Kubernetes manifests')
    .description(
      'Adds a sidecar to the pods of Kubernetes manifests (Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, and lists of them) and prints them; other documents are printed as they are. Annotations of the pod say more (docs/injection.md). Without a cluster, and the same whenever it is repeated. When one pod is refused nothing is printed.',
    )
    .requiredOption('-f, --filename <file>', 'YAML or JSON, any number of documents; `-`: standard input')
    .option('--config <file>', 'a YAML map of the settings below, by their names in camel case')
    .option('--json', 'print JSON: what became of each object, and all documents')
    .addHelpText('after', `\nAnnotations of a pod:\n${describeAnnotations()}\n${examples}`);
  for (const [name, setting] of Object.entries(injectorSettings)) {
    const option = new Option(`${flagOf(name)} <${setting.form}>`, `${setting.doc} [${environmentNameOf(name)}]`);
    command.addOption(option.default(undefined, fallbackText(setting)));
  }
  command.action(async ({ filename, config, json, ...flags }: Options) => {
    const settings: InjectorSettings = loadConfig(injectorSettings, {
      ...(config !== undefined && { file: config }),
      environment: process.env,
      flags: flags as Record<string, string | undefined>,
    });
    const injected = injectManifests(await readInput(filename), filename === '-' ? 'stdin' : filename, settings);
    const { documents, results } = injected;
    if (!json) process.stderr.write(results.map((result) => `${describe(result)}\n`).join(''));
    print({ results, documents }, () => injected.text, { ...(json !== undefined && { json }) });
  });
}

async function readInput(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${file}: ${messageOf(cause)}`, { cause });
  }
}

function describe(result: Injected): string {
  const { outcome, mode, reasons = [] } = result;
  return `${nameOf(result)}: ${outcome === 'injected' ? `injected (${mode})` : `left as it is: ${reasons.join('; ')}`}`;
}

function describeAnnotations(): string {
  const forms = Object.entries(annotationSettings).map(([name, { form, doc }]) => [
    `${annotationOf(name)}: ${form}`,
    doc,
  ]);
  const width = Math.max(...forms.map(([form]) => form!.length));
  return forms.map(([form, doc]) => `  ${form!.padEnd(width)}  ${doc}`).join('\n');
}
