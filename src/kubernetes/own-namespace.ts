import { readFile } from 'node:fs/promises';

/** Where the kubelet writes it. */
const namespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** The namespace that this process runs in: its pod's, or what an installation is called. */
export async function ownNamespace(fallback = 'cellmesh'): Promise<string> {
  const text = await readFile(namespaceFile, 'utf8').catch(() => '');
  return text.trim() || fallback;
}
