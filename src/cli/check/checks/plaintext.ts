import { workloadText } from '#policy/workload-name.ts';
import { distance } from '../../output.ts';
import { type Check, counted, everywhere, type Finding, fail, few, known, warn } from '../check-definition.ts';
import type { Facts, PolicyFacts } from '../facts.ts';

export const plaintextChecks: readonly Check[] = [
  {
    id: 'plaintext',
    group: 'policy',
    places: everywhere,
    question: 'Who calls without TLS, and until when may they?',
    pain: 'A strict mode that stops production',
    judge: (facts) =>
      known(facts.policy, 'see that the manifests are there and that you may read them', ({ policies }) =>
        few(
          policies.flatMap((policy) => judgeService(policy, facts)),
          `${counted(policies.length, 'service')} that hear nobody without TLS`,
        ),
      ),
  },
];

function judgeService(policy: PolicyFacts['policies'][number], facts: Facts): readonly Finding[] {
  const { plaintextUntilMs: untilMs } = policy;
  const { nowMs, failBeforeMs, plaintextCallers } = facts;
  if (untilMs === undefined) return [];
  const service = workloadText(policy);
  const isOver = untilMs <= nowMs;
  const end = `${isOver ? 'which ended' : 'which ends'} ${distance(untilMs, nowMs)}`;
  const strict = 'say `inbound: { mode: strict }`, or nothing';
  if (plaintextCallers === undefined) return [warn(`${service} has \`observe-plaintext\`, ${end}`, strict)];
  return known(plaintextCallers, 'mend what the check `control-plane` says', (all) => {
    const callers = all.filter((one) => one.service === service);
    const mend = 'give it a sidecar, and name its SPIFFE ID in `from`; or extend `until` (docs/operations.md)';
    const isUrgent = untilMs - nowMs < failBeforeMs;
    const found = callers.map(({ address, lastMs, requests }) =>
      (isUrgent ? fail : warn)(
        `${service} is called without TLS by ${address}: ${counted(requests, 'request')}, the last ${distance(lastMs, nowMs)}; it has \`observe-plaintext\`, ${end}`,
        mend,
      ),
    );
    if (found.length > 0) return found;
    return [warn(`${service} has \`observe-plaintext\`, ${end}; nobody called so in 24 h`, strict)];
  });
}
