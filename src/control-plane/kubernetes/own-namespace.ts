import { readFile } from 'node:fs/promises';

/** Where the kubelet writes it. */
const namespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';
const fallback = 'cellmesh';

/** The namespace that this process runs in: its pod's, or what an installation is called. */
export async function ownNamespace(): Promise<string> {
  try {
    return (await readFile(namespaceFile, 'utf8')).trim() || fallback;
  } catch {
    return fallback;
  }
}
