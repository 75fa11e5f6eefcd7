import type { ApiClient } from '#api/api-client.ts';
import { PolicyHistory } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';

/** The manifests of a version that was in force, their text by file name. @throws CellmeshError `not_found` */
export async function policyFiles(client: ApiClient, version: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for await (const { name, text } of client.read(PolicyHistory.method.getVersion, { version })) files.set(name, text);
  return files;
}
