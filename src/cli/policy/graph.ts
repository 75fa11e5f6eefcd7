import type { Command } from 'commander';
import type { PolicyGraph } from '#policy/graph/graph.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { type StateOptions, withState } from '../operator.ts';
import { print } from '../output.ts';
import { defaultManifestDir, readManifestDir } from './manifest-files.ts';

interface Options extends StateOptions {
  readonly service?: string;
}

const examples = `
Examples:
  cellmesh policy graph policy/                       the whole cell, as a flowchart of Mermaid
  cellmesh policy graph policy/ --service delivery    who calls it, and whom it calls
  cellmesh policy graph --json                        the manifests of \`cellmesh up\`, or of the working directory`;

/** Who may call whom, and with what. */
export function addGraph(policy: Command): void {
  withState(
    policy
      .command('graph')
      .summary('who may call whom, and with what')
      .description(
        'Draws who may call whom with which scopes, as Mermaid. Dashed are edges over which nothing goes: only one side says so, or what arrives is not enough.',
      )
      .argument('[dir]', 'manifests (default: those of `cellmesh up`, or of the working directory)')
      .option(
        '--service <name>',
        'only what is about one service: namespace/service-account, or the service account alone',
      )
      .addHelpText('after', examples),
  ).action(async (directory: string | undefined, options: Options) => {
    const texts = await readManifestDir(directory ?? (await defaultManifestDir(options.state)));
    const { readManifests } = await import('#policy/read-manifests.ts');
    const { graphOf, narrowedTo } = await import('#policy/graph/graph.ts');
    const { mermaidOf } = await import('#policy/graph/mermaid.ts');
    const { cell, policies } = readManifests(texts);
    const whole = graphOf(cell, policies);
    const graph = options.service === undefined ? whole : narrowedTo(whole, serviceOf(whole, options.service));
    print(graph, () => mermaidOf(graph), options);
  });
}

/** @throws CellmeshError `not_found` */
function serviceOf({ services }: PolicyGraph, name: string): string {
  const found = services.filter((service) => service.name === name || service.name.split('/').at(-1) === name);
  if (found.length === 1) return found[0]!.name;
  const names = services.map((service) => service.name).join(', ');
  const why = found.length === 0 ? 'there is no service' : 'several services are called';
  throw new CellmeshError('not_found', `${why} ${name}; there are ${names}`);
}
