import { Secret } from '#runtime/secret.ts';
import type { Node } from '#runtime/yaml-document.ts';
import { type CredentialPlugin, readCredentialPlugin } from './credential-plugin.ts';
import type { CredentialSource } from './credential-source.ts';
import { type KubeconfigFile, KubeconfigReader, type Material } from './kubeconfig-reader.ts';

/** An API server, and who we are towards it. */
export interface ClusterAccess {
  /** With https, without a trailing slash in its path. */
  readonly server: URL;
  /** PEM; absent: the system's authorities. */
  readonly authority?: Material;
  /** The name that the server's certificate must have, where it is not the host of `server`. */
  readonly serverName?: string;
  readonly certificate?: { readonly chain: Material; readonly key: Material<Secret<string>> };
  readonly token?: Material<Secret<string>>;
  /** In place of both: something that makes them. */
  readonly credentials?: CredentialSource;
}

/** What a kubeconfig says: its user has a certificate, a token, or a plugin that somebody may run. */
export type KubeconfigAccess = Omit<ClusterAccess, 'credentials'> & { readonly plugin?: CredentialPlugin };

interface KubeconfigOptions {
  /** Without it the current one. */
  readonly context?: string | undefined;
  /** Whether whoever asks will run a plugin; without it a user who has one is refused. */
  readonly takesPlugins?: boolean;
}

/** A map of a kubeconfig, with the reader of the file in which it stands. */
interface Found {
  readonly reader: KubeconfigReader;
  readonly node: Node;
}

const execRefused =
  'it runs a program (`exec`), and a server starts no programs of others: use a token or a client certificate';
/** How else others let themselves be authenticated, and why we do not. */
const refusedUserFields: Readonly<Record<string, string>> = {
  'auth-provider': '`auth-provider` was removed from Kubernetes: use a token or a client certificate',
  username: 'passwords were removed from Kubernetes: use a token or a client certificate',
  password: 'passwords were removed from Kubernetes: use a token or a client certificate',
  as: 'impersonation is not supported: use the credentials of whoever is meant',
};

/**
 * Reads a context of a kubeconfig: one cluster, and one user. Of several files, as of a `KUBECONFIG` with a list, the first one that names
 * something says what it is.
 * @throws CellmeshError `config_invalid`, or `document_invalid` for what is not YAML
 */
export function parseKubeconfig(
  files: readonly KubeconfigFile[],
  { context: name, takesPlugins = false }: KubeconfigOptions = {},
): KubeconfigAccess {
  const readers = files.map((file) => new KubeconfigReader(file));
  const context = named(readers, 'context', name ?? currentContext(readers));
  const ofContext = (kind: string) =>
    named(readers, kind, context.reader.text(context.node, kind, 'the current context'));
  const cluster = ofContext('cluster');
  const user = ofContext('user');
  const access = { ...clusterOf(cluster), ...userOf(user, takesPlugins) };
  const exec = user.reader.map(user.node, 'exec');
  return exec === undefined ? access : { ...access, plugin: readCredentialPlugin(user.reader, exec, cluster) };
}

function currentContext(readers: readonly KubeconfigReader[]): string {
  for (const reader of readers) {
    const name = reader.optionalText(reader.document, 'current-context');
    if (name !== undefined) return name;
  }
  throw readers[0]!.invalid(`the file has no \`current-context\`${orOthers(readers)}`);
}

function named(readers: readonly KubeconfigReader[], kind: string, name: string): Found {
  for (const reader of readers) {
    const node = reader.named(kind, name);
    if (node !== undefined) return { reader, node };
  }
  throw readers[0]!.invalid(`there is no ${kind} \`${name.slice(0, 64)}\`${orOthers(readers)}`);
}

function orOthers({ length }: readonly KubeconfigReader[]): string {
  return length === 1 ? '' : ', nor in the files after it';
}

function clusterOf({ reader, node }: Found): Pick<ClusterAccess, 'server' | 'authority' | 'serverName'> {
  if (reader.field(node, 'insecure-skip-tls-verify') === true)
    throw reader.invalid('`insecure-skip-tls-verify` is refused: name the authority in `certificate-authority`');
  if (reader.field(node, 'proxy-url') !== undefined) throw reader.invalid('`proxy-url` is not supported');
  const authority = reader.material(node, 'certificate-authority');
  const serverName = reader.optionalText(node, 'tls-server-name');
  return {
    server: reader.server(reader.text(node, 'server', 'the cluster')),
    ...(authority !== undefined && { authority }),
    ...(serverName !== undefined && { serverName }),
  };
}

function userOf({ reader, node }: Found, takesPlugins: boolean): Pick<ClusterAccess, 'certificate' | 'token'> {
  const isExec = reader.has(node, 'exec');
  const refused = Object.entries(refusedUserFields).find(([name]) => reader.has(node, name))?.[1];
  const reason = isExec && !takesPlugins ? execRefused : refused;
  if (reason !== undefined) throw reader.invalid(`the user of the current context cannot be used: ${reason}`);
  const chain = reader.material(node, 'client-certificate');
  const key = reader.material(node, 'client-key');
  if ((chain === undefined) !== (key === undefined))
    throw reader.invalid('`client-certificate` and `client-key` belong together; one of them is missing');
  const token = reader.token(node);
  const isGiven = chain !== undefined || token !== undefined;
  if (isExec && isGiven)
    throw reader.invalid(
      'the user of the current context has `exec` and a token or client certificate: which is meant?',
    );
  if (!isExec && !isGiven)
    throw reader.invalid('the user of the current context has neither a token nor a client certificate');
  return {
    ...(chain !== undefined && key !== undefined && { certificate: { chain, key: secretOf(key) } }),
    ...(token !== undefined && { token }),
  };
}

function secretOf(material: Material): Material<Secret<string>> {
  return 'value' in material ? { value: new Secret(material.value) } : material;
}
