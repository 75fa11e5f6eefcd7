import { existsSync, globSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface KubernetesPrograms {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl: string;
}

/**
 * Programs of Kubernetes, looked for where envtest does: `TEST_ASSET_ETCD`, `TEST_ASSET_KUBE_APISERVER` and `TEST_ASSET_KUBECTL`,
 * `KUBEBUILDER_ASSETS`, what setup-envtest keeps, `/usr/local/kubebuilder/bin`. Without them tests are skipped and say so.
 * @throws where a variable names a place that has none and `REQUIRE_PARTS=1`
 */
export function kubernetesPrograms(): KubernetesPrograms | { readonly skip: string } {
  const { TEST_ASSET_ETCD, TEST_ASSET_KUBE_APISERVER, TEST_ASSET_KUBECTL, ...others } = process.env;
  const { KUBEBUILDER_ASSETS, XDG_DATA_HOME, REQUIRE_PARTS } = others;
  const kept = join(XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'kubebuilder-envtest/k8s');
  const directories = [KUBEBUILDER_ASSETS, ...globSync(join(kept, '*')).sort().reverse(), '/usr/local/kubebuilder/bin'];
  const found = directories
    .filter((directory) => directory !== undefined)
    .map((directory) => ({
      etcd: TEST_ASSET_ETCD ?? join(directory, 'etcd'),
      apiServer: TEST_ASSET_KUBE_APISERVER ?? join(directory, 'kube-apiserver'),
      kubectl: TEST_ASSET_KUBECTL ?? join(directory, 'kubectl'),
    }))
    .find((programs) => Object.values(programs).every((path) => existsSync(path)));
  if (found !== undefined) return found;
  const isNamed = (TEST_ASSET_KUBE_APISERVER ?? KUBEBUILDER_ASSETS) !== undefined;
  if (isNamed && REQUIRE_PARTS === '1') throw new Error('what the environment says of Kubernetes is not there');
  return { skip: 'etcd, kube-apiserver and kubectl are not installed (KUBEBUILDER_ASSETS says where they are)' };
}
