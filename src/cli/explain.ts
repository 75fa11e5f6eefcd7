import { join } from 'node:path';
import type { Command } from 'commander';
import type { ApiClient } from '#api/api-client.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { readDecisionRing } from '#feeds/decision-ring.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { explain } from '#policy/explain/explain-record.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import { type Installation, readInstallation, region } from './installation.ts';
import { atControlPlane, atIdentity, type StateOptions, withState } from './operator.ts';
import { print } from './output.ts';

/** Why a request got the answer that it got. */
export function addExplain(program: Command): void {
  withState(
    program
      .command('explain')
      .summary('why a request was allowed or refused')
      .description(
        'Explains a decision: who asked whom for what, the rule or the first condition that failed, and what would change it. The id stands in the header `cellmesh-decision` of every answer.',
      )
      .argument('<decision-id>', 'as in the header `cellmesh-decision`'),
  ).action(async (id: string, options: StateOptions) => {
    const record = await findDecision(id, await readInstallation(options.state));
    print(record, () => explain(record), options);
  });
}

/** Those who decided report within a second; whoever cannot be asked is passed over, and the rings on disk are read last. */
async function findDecision(id: string, installation: Installation): Promise<DecisionRecord> {
  const options = { state: installation.stateDir, region };
  const ask = async (client: ApiClient) => (await client.call(DecisionLog.method.find, { id })).record;
  const places: readonly [string, () => Promise<string>][] = [
    ['the control plane', () => atControlPlane(options, ask)],
    ['identity', () => atIdentity(options, ask)],
    ['the decision logs on disk', () => findOnDisk(id, installation)],
  ];
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
