import { readFile } from 'node:fs/promises';

const namespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** The namespace of the pod that this process runs in; `fallback` outside of a cluster. */
export async function ownNamespace(fallback: string): Promise<string> {
  const text = await readFile(namespaceFile, 'utf8').catch(() => '');
  return text.trim() || fallback;
}
