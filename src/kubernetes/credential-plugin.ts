import type { Node } from '#runtime/yaml-document.ts';
import type { KubeconfigReader, Material } from './kubeconfig-reader.ts';

/** What is told to a plugin of the cluster, where it wants to know (`provideClusterInfo`). */
interface PluginCluster {
  readonly server: string;
  readonly serverName?: string;
  readonly authority?: Material;
  /** The cluster's extension for plugins: whatever its author likes. */
  readonly config?: unknown;
}

/** A program that makes the user's credentials: `exec` of a kubeconfig ("client-go credential plugins"). */
export interface CredentialPlugin {
  readonly apiVersion: string;
  /** A path, or a name in `PATH`. */
  readonly command: string;
  readonly args: readonly string[];
  /** Beside this process's own. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether it may ask its user something. */
  readonly interactiveMode: 'Never' | 'IfAvailable' | 'Always';
  /** For a user who does not have it. */
  readonly installHint?: string;
  readonly cluster?: PluginCluster;
}

const apiVersions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'] as const;
const extensionName = 'client.authentication.k8s.io/exec';
const interactiveModes = ['Never', 'IfAvailable', 'Always'] as const;

/**
 * @param cluster with the reader of the file in which it stands
 * @throws CellmeshError `config_invalid`
 */
export function readCredentialPlugin(
  reader: KubeconfigReader,
  exec: Node,
  cluster: { readonly reader: KubeconfigReader; readonly node: Node },
): CredentialPlugin {
  const apiVersion = reader.text(exec, 'apiVersion', '`exec`');
  if (!apiVersions.some((one) => one === apiVersion))
    throw reader.invalid(
      `\`exec\` is of an \`apiVersion\` other than ${apiVersions.join(' and ')}: make the file anew`,
    );
  // v1beta1 has a default (types.go of client-go).
  const given = reader.optionalText(exec, 'interactiveMode') ?? (apiVersion === apiVersions[1] ? 'IfAvailable' : '');
  const interactiveMode = interactiveModes.find((mode) => mode === given);
  if (interactiveMode === undefined)
    throw reader.invalid(`\`interactiveMode\` of \`exec\` must be one of ${interactiveModes.join(', ')}`);
  const command = reader.text(exec, 'command', '`exec`');
  const installHint = reader.optionalText(exec, 'installHint');
  return {
    ...{ apiVersion, interactiveMode },
    // As kubectl does: a name is looked for in PATH, a path begins at the file.
    command: command.includes('/') ? reader.path(command) : command,
    args: reader.list(exec, 'args').map((item) => textOf(reader, item, 'args')),
    env: environmentOf(reader, exec),
    ...(installHint !== undefined && { installHint }),
    ...(reader.field(exec, 'provideClusterInfo') === true && { cluster: pluginCluster(cluster.reader, cluster.node) }),
  };
}

function environmentOf(reader: KubeconfigReader, exec: Node): Readonly<Record<string, string>> {
  const pairs = reader.list(exec, 'env').map((item) => {
    const value = item.kind === 'map' ? item.entries.get('value')?.value : undefined;
    return [reader.text(item, 'name', '`env` of `exec`'), value === undefined ? '' : textOf(reader, value, 'value')];
  });
  return Object.fromEntries(pairs);
}

function textOf(reader: KubeconfigReader, node: Node, name: string): string {
  // What is not to be run must not get as far as an error of the operating system, which would show it.
  if (node.kind !== 'scalar' || typeof node.value !== 'string' || node.value.includes('\0'))
    throw reader.invalid(`\`${name}\` of \`exec\` must be text`);
  return node.value;
}

function pluginCluster(reader: KubeconfigReader, cluster: Node): PluginCluster {
  const serverName = reader.optionalText(cluster, 'tls-server-name');
  const authority = reader.material(cluster, 'certificate-authority');
  const extension = reader
    .list(cluster, 'extensions')
    .find((item) => reader.optionalText(item, 'name') === extensionName);
  const config = extension?.kind === 'map' ? extension.entries.get('extension')?.value : undefined;
  return {
    server: reader.text(cluster, 'server', 'the cluster'),
    ...(serverName !== undefined && { serverName }),
    ...(authority !== undefined && { authority }),
    ...(config !== undefined && { config: plain(config) }),
  };
}

function plain(node: Node): unknown {
  if (node.kind === 'scalar') return node.value;
  if (node.kind === 'list') return node.items.map(plain);
  return Object.fromEntries([...node.entries].map(([name, { value }]) => [name, plain(value)]));
}
