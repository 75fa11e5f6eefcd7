import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type ClusterAccess, type KubeconfigAccess, parseKubeconfig } from './kubeconfig.ts';
import { isBearerToken, type Material } from './kubeconfig-reader.ts';

/** The setting that means the cluster in which this process runs itself. */
export const inCluster = 'in-cluster';
/** Where the kubelet puts what a pod needs, rotated as tokens end. */
const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Certificates, keys and tokens are some kilobytes. */
const materialBytesMax = 256 * 1024;

/**
 * How a process reaches the API server. It runs no credential plugin.
 * @param setting `in-cluster`, or the path of a kubeconfig file
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable`
 */
export async function readClusterAccess(
  setting: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ClusterAccess> {
  if (setting === inCluster) return inClusterAccess(environment);
  return parseKubeconfig([await kubeconfigFile(setting)]);
}

/**
 * How a person reaches the API server who may run the credential plugin of the kubeconfig.
 * @param paths one at least; the first file that names something says what it is
 * @param context without it the current one
 * @throws CellmeshError `config_invalid`, `document_invalid`, `file_unreadable`
 */
export async function readKubeconfig(paths: readonly string[], context?: string): Promise<KubeconfigAccess> {
  return parseKubeconfig(await Promise.all(paths.map(kubeconfigFile)), { context, takesPlugins: true });
}

async function kubeconfigFile(path: string) {
  return { text: await textOf({ file: path }), name: path, directory: dirname(resolve(path)) };
}

/** @throws CellmeshError `file_unreadable` */
export async function textOf(material: Material): Promise<string> {
  if ('value' in material) return material.value;
  try {
    const text = await readFile(material.file, 'utf8');
    if (text.length > materialBytesMax) throw new Error(`it is longer than ${materialBytesMax} bytes`);
    return text;
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${material.file}: ${messageOf(cause)}`, { cause });
  }
}

/** @throws CellmeshError `file_unreadable` */
export async function secretTextOf(material: Material<Secret<string>>): Promise<Secret<string>> {
  return 'value' in material ? material.value : new Secret(await textOf(material));
}

/** @throws CellmeshError `file_unreadable`, also for what is no token */
export async function tokenOf(material: Material<Secret<string>>): Promise<Secret<string>> {
  const token = (await secretTextOf(material)).reveal().trim();
  if (!isBearerToken(token))
    throw new CellmeshError('file_unreadable', 'the file with our token holds no bearer token');
  return new Secret(token);
}

function inClusterAccess(environment: Readonly<Record<string, string | undefined>>): ClusterAccess {
  const host = environment['KUBERNETES_SERVICE_HOST'];
  const port = environment['KUBERNETES_SERVICE_PORT'];
  const url = `https://${host?.includes(':') ? `[${host}]` : host}:${port}`;
  if (!host || !port || !URL.canParse(url)) {
    throw new CellmeshError(
      'config_invalid',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not say where the API server is; outside of a cluster name a kubeconfig file',
    );
  }
  return {
    server: new URL(url),
    authority: { file: `${serviceAccountDirectory}/ca.crt` },
    token: { file: `${serviceAccountDirectory}/token` },
  };
}
