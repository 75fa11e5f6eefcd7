import type { KubernetesClient } from './client.ts';
import { textAt } from './json.ts';

/** Of Kubernetes. Numbers are NaN where the server's cannot be read. */
interface ServerVersion {
  readonly major: number;
  readonly minor: number;
  /** `v1.37.2`, with whatever a distribution adds; empty where the server does not tell. */
  readonly text: string;
}

export async function serverVersion(
  client: Pick<KubernetesClient, 'ask'>,
  signal?: AbortSignal,
): Promise<ServerVersion> {
  const version = await client.ask({ method: 'GET', path: '/version', isRepeatable: true }, signal);
  const numberOf = (field: string) => Number.parseInt(textAt(version, field) ?? '', 10);
  return { major: numberOf('major'), minor: numberOf('minor'), text: textAt(version, 'gitVersion') ?? '' };
}
