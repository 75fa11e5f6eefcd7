import { distance } from '../../output.ts';
import { type Check, counted, type Finding, fail, few, inCluster, known, warn } from '../check-definition.ts';
import type { PolicyObject } from '../cluster-facts.ts';

const look = 'see that you may list this: `kubectl auth can-i`';
const pain = 'Policy that is half-way there';
/** Sidecars acknowledge within a second; pods start within minutes. */
const behindMs = 5 * 60_000;

/** What became of the objects of the cluster. */
export const objectChecks: readonly Check[] = [
  ofObjects('policies-accepted', 'Has the control plane taken every ServicePolicy?', 'accepted', judgeAccepted),
  ofObjects('policies-programmed', 'Does every pod have the newest of its ServicePolicy?', 'with it', judgeProgrammed),
];

function ofObjects(
  id: string,
  question: string,
  well: string,
  judge: (object: PolicyObject, nowMs: number) => Finding | undefined,
): Check {
  return {
    ...{ id, group: 'cluster', places: ['cluster'], question, pain },
    judge: inCluster(({ policyObjects }, { nowMs }) =>
      known(policyObjects, look, (objects) =>
        few(
          objects.flatMap((object) => judge(object, nowMs) ?? []),
          `${counted(objects.length, 'object')} ${well}`,
        ),
      ),
    ),
  };
}

function judgeAccepted({ name, accepted }: PolicyObject): Finding | undefined {
  if (accepted === undefined)
    return warn(
      `${name}: nobody has judged what it says now`,
      'ask again in a few seconds; if it stays, see the check `leader`',
    );
  if (!accepted.isAccepted)
    return fail(`${name} is refused: ${accepted.message}`, 'correct it; what was in force before stays');
  return accepted.isWhole ? undefined : warn(`${name} is in force in part: ${accepted.message}`, 'correct the rest');
}

function judgeProgrammed({ name, programmed }: PolicyObject, nowMs: number): Finding | undefined {
  if (programmed === undefined || programmed.isProgrammed || nowMs - programmed.sinceMs < behindMs) return undefined;
  return warn(
    `${name} is not everywhere, since ${distance(programmed.sinceMs, nowMs)}: ${programmed.message}`,
    'see the checks `sidecars-behind` and `pods-old-sidecar`, and the logs of its pods (container cellmesh-sidecar)',
  );
}
