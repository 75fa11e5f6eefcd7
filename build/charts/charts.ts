import { stringify } from 'yaml';
import { type Installation, installations, known, namespaceObject, objectsOf } from '#cli/install/installations.ts';
import { placeholder } from '#cli/install/placeholder.ts';
import type { Release } from '#cli/install/pod-parts.ts';
import { defaultsOf, placeholdersOf } from '#cli/install/values.ts';
import { version } from '#runtime/version.ts';
import { definitionFiles } from '../crds/custom-resources.ts';
import { templateText } from './helm-text.ts';
import { notes } from './notes.ts';
import { schemaText, valuesText } from './values-files.ts';

const made = '# Made by `npm run fix:charts`.\n';
const style = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const;

/** Everything that is made below `k8s/` beside the definitions: the texts of all files by their paths there. */
export function chartFiles(): ReadonlyMap<string, string> {
  const all = Object.values(installations).flatMap((one) => [...filesOfChart(one), ...filesOfBase(one)]);
  const definitions = [...definitionFiles().keys()];
  return new Map([...all, ['crds/kustomization.yaml', kustomization({ resources: definitions })]]);
}

function filesOfChart(installation: Installation): [string, string][] {
  const { name, fields, files, hasDefinitions } = installation;
  const path = (file: string) => `charts/cellmesh-${name}/${file}`;
  const release: Release = {
    namespace: placeholder({ kind: 'text', path: '.Release.Namespace' }),
    managedBy: placeholder({ kind: 'text', path: '.Release.Service' }),
    version: placeholder({ kind: 'text', path: '.Chart.AppVersion' }),
  };
  const templates = Object.entries(files(placeholdersOf(fields) as never, release));
  return [
    [path('Chart.yaml'), made + stringify(chartOf(installation), style)],
    [path('values.yaml'), made + valuesText(fields)],
    [path('values.schema.json'), schemaText(`Values of cellmesh-${name}`, fields)],
    [path('templates/NOTES.txt'), notes[name]],
    ...templates.map(([file, tree]): [string, string] => [
      path(`templates/${file}.yaml`),
      `{{- /* Made by \`npm run fix:charts\`. */}}\n${templateText(tree as never)}`,
    ]),
    ...(hasDefinitions
      ? [...definitionFiles()].map(([file, text]): [string, string] => [path(`crds/${file}`), text])
      : []),
  ];
}

function chartOf({ name, summary }: Installation): object {
  return {
    apiVersion: 'v2',
    name: `cellmesh-${name}`,
    description: `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
    type: 'application',
    version,
    appVersion: version,
    kubeVersion: '>=1.29.0-0',
    keywords: ['service mesh', 'spiffe', 'mtls'],
  };
}

/** As an installation with the values that nobody has changed. */
function filesOfBase(installation: Installation): [string, string][] {
  const { name, namespace, fields, hasDefinitions } = installation;
  const release: Release = { namespace, managedBy: 'kustomize', version };
  const objects = [...objectsOf(installation, defaultsOf(fields), release)].filter(([, all]) => all.length > 0);
  const all = [['namespace', [known(namespaceObject(release))]] as const, ...objects];
  const resources = [...(hasDefinitions ? ['../../crds'] : []), ...all.map(([file]) => `${file}.yaml`)];
  return [
    [`base/${name}/kustomization.yaml`, kustomization({ namespace, resources })],
    ...all.map(([file, objects]): [string, string] => [
      `base/${name}/${file}.yaml`,
      made + objects.map((object) => stringify(object, style)).join('---\n'),
    ]),
  ];
}

function kustomization(fields: object): string {
  return made + stringify({ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', ...fields }, style);
}
