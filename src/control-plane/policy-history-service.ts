import { type ServedService, served } from '#api/api-server.ts';
import { PolicyHistory as Service } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { PolicyHistory } from './policy-history.ts';

/** `PolicyHistory`: the manifests that were in force, for those who look at decisions of then. */
export function policyHistoryService(history: PolicyHistory): ServedService {
  return served(Service, {
    async listVersions() {
      const versions = history.versions().map(({ version, sinceMs }) => ({ version, sinceMs: BigInt(sinceMs) }));
      return { versions };
    },
    getVersion({ version }, stream) {
      const files = history.files(version);
      if (files === undefined) return stream.end(new CellmeshError('not_found', notKept(version)));
      for (const [name, text] of files) stream.send({ name, text });
      return stream.end();
    },
  });
}

function notKept(version: string): string {
  return `no policy version ${version.slice(0, 40)} is kept: it was never in force, or before the oldest decision`;
}
