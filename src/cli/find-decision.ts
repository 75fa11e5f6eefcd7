import { join } from 'node:path';
import type { ApiClient } from '#api/api-client.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { readDecisionRing } from '#feeds/decision-ring.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import { type Installation, readInstallation } from './installation.ts';
import { type AuthorityOptions, atControlPlanes, atIdentity, isInCluster } from './operator.ts';

/**
 * Those who decided report within a second; whoever cannot be asked is passed over, and the rings on disk are read last. In a cluster each replica
 * of the control plane is asked, and identity. With `--address` only the control plane there is asked.
 * @throws CellmeshError `not_found`
 */
export async function findDecision(id: string, options: AuthorityOptions): Promise<DecisionRecord> {
  const ask = async (client: ApiClient) => (await client.call(DecisionLog.method.find, { id })).record;
  const askAll = async (clients: readonly ApiClient[]) => {
    const records = await Promise.all(clients.map(ask));
    return records.find((record) => record !== '') ?? '';
  };
  const places: [string, () => Promise<string>][] = [['the control plane', () => atControlPlanes(options, askAll)]];
  if (options.address === undefined) {
    const { namespace: _, ...elsewhere } = options;
    places.push(['identity', () => atIdentity(isInCluster(options) ? { ...elsewhere, kube: true } : options, ask)]);
    if (!isInCluster(options)) {
      const installation = await readInstallation(options.state);
      places.push(['the decision logs on disk', () => findOnDisk(id, installation)]);
    }
  }
  const unanswered: string[] = [];
  for (const [place, find] of places) {
    try {
      const record = await find();
      if (record !== '') return parseDecisionRecord(record);
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
      unanswered.push(`${place} could not be asked: ${messageOf(error)}`);
    }
  }
  throw new CellmeshError('not_found', [`no decision ${id} is known`, ...unanswered, keptHint].join('; '));
}

/** Permits above `--reported-permits` a second are nowhere else. */
const keptHint = 'a permit of a busy sidecar may be in its own decision log only';

async function findOnDisk(id: string, { services, router }: Installation): Promise<string> {
  for (const { stateDir } of [...services, router]) {
    const records = await readDecisionRing(join(stateDir, 'decisions'));
    const found = records.findLast((record) => (record as Partial<DecisionRecord>)?.id === id);
    if (found !== undefined) return JSON.stringify(found);
  }
  return '';
}
