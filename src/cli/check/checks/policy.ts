import type { LintRuleName } from '#policy/lint/lint-rules.ts';
import type { Finding as LintFinding } from '#policy/lint/subject.ts';
import { workloadText } from '#policy/workload-name.ts';
import { tokenBytesMax } from '#tokens/mint.ts';
import {
  type Check,
  counted,
  eachReplica,
  everywhere,
  type Finding,
  fail,
  known,
  ok,
  orElse,
  unknown,
  warn,
} from '../check-definition.ts';
import type { Facts, PolicyFacts } from '../facts.ts';

/** What a token says beside its scopes, and its signature: some 700 bytes, and a third more of everything in base64. */
const claimsBytes = 620;
const tokenFrameBytes = 190;
const tokenBytesWarn = 2048;

const oneSided: readonly LintRuleName[] = [
  'call-not-allowed',
  'peer-undeclared',
  'exposure-not-allowed',
  'router-never-sends',
];
const ending: readonly LintRuleName[] = ['rule-expired', 'rule-expires'];
/** The check `plaintext` says more of it. */
const plaintext: readonly LintRuleName[] = ['plaintext-ends'];

export const policyChecks: readonly Check[] = [
  {
    id: 'policy-in-force',
    group: 'policy',
    places: everywhere,
    question: 'Are the newest manifests in force?',
    pain: 'A policy edit that stops production, or never comes to be',
    judge: judgeInForce,
  },
  ofPolicy('policy-errors', 'Are the manifests without errors?', 'A bad policy', ({ report }) =>
    orElse(
      report.findings
        .filter(({ severity, rule }) => severity === 'error' && !ending.includes(rule))
        .map((one) =>
          fail(placed(one), 'correct it: `cellmesh policy lint`; until then the set before stays in force'),
        ),
      `${counted(report.files, 'file')} of manifests`,
    ),
  ),
  ofPolicy(
    'policy-one-sided',
    'Is every call declared on both sides?',
    'Requests refused after an edit of one side',
    ({ report }) =>
      orElse(
        report.findings
          .filter(({ rule }) => oneSided.includes(rule))
          .map((one) => warn(placed(one), 'add the other side, or take this one away (docs/policy-lint.md)')),
        'every call is declared by its caller and allowed by its callee',
      ),
  ),
  ofPolicy('rules-expire', 'Do rules end soon?', 'Requests refused from one day to the next', ({ report }) =>
    orElse(
      report.findings
        .filter(({ rule }) => ending.includes(rule))
        .map((one) => warn(placed(one), 'extend it, or write a rule that stays, if the calls should go on')),
      'no rule does',
    ),
  ),
  ofPolicy('policy-warnings', 'Is nothing strange about the manifests?', 'A bad policy', ({ report }) =>
    orElse(
      report.findings
        .filter(
          ({ severity, rule }) => severity === 'warning' && ![...oneSided, ...ending, ...plaintext].includes(rule),
        )
        .map((one) => warn(placed(one), 'see docs/policy-lint.md, or allow it there with a reason')),
      'nothing is',
    ),
  ),
  ofPolicy('policy-audit', 'Is every policy enforced?', 'Tightening that is never finished', ({ policies }) =>
    orElse(
      policies
        .filter(({ mode, rollout }) => mode === 'audit' && rollout === undefined)
        .map((policy) =>
          warn(
            `${workloadText(policy)} is in audit: a missing rule stops nobody`,
            'see what it would deny (`cellmesh policy plan`), and set `mode: enforce`',
          ),
        ),
      `${counted(policies.length, 'manifest')}, all of them enforced`,
    ),
  ),
  {
    id: 'rollouts',
    group: 'policy',
    places: everywhere,
    question: 'Are candidates doing well?',
    pain: 'A policy edit that stops production',
    judge: ({ rollouts }) =>
      known(rollouts, 'mend what the check `control-plane` says', (states) =>
        orElse(
          states
            .filter(({ isWithdrawn }) => isWithdrawn)
            .map(({ service, newlyDenied, allowed }) =>
              warn(
                `the candidate of ${service} was withdrawn: it denied ${newlyDenied} of ${allowed} requests that were allowed`,
                'see which (`cellmesh policy rollout`, `cellmesh policy plan`), and correct or remove it',
              ),
            ),
          states.length === 0 ? 'there are none' : `${counted(states.length, 'candidate')}, none withdrawn`,
        ),
      ),
  },
  ofPolicy(
    'token-size',
    'Are tokens far from the size that is refused?',
    'Big tokens hit limits of headers',
    judgeTokenSize,
  ),
];

function ofPolicy(
  id: string,
  question: string,
  pain: string,
  judge: (policy: PolicyFacts) => readonly Finding[],
): Check {
  return {
    ...{ id, group: 'policy', places: everywhere, question, pain },
    judge: ({ policy }: Facts) => known(policy, 'see that the manifests are there and that you may read them', judge),
  };
}

function judgeInForce(facts: Facts): readonly Finding[] {
  const { policy } = facts;
  return eachReplica(facts, ({ policyVersion, policyProblems }) => {
    const mend = 'correct the manifests; the set before stays in force until then';
    if (policyProblems.length > 0) return policyProblems.map((problem) => fail(`refused: ${problem}`, mend));
    if ('unknown' in policy) return [unknown(policy.unknown, 'see that you may read the manifests')];
    const { version } = policy.value;
    if (version === undefined || version === policyVersion) return [ok(`version ${policyVersion}`)];
    return [
      warn(
        `version ${policyVersion} is in force, the manifests come to ${version}`,
        'ask again in a few seconds; if it stays, see the log of the control plane',
      ),
    ];
  });
}

/** The longest that can be: one with every scope of the catalogue. */
function judgeTokenSize({ cells }: PolicyFacts): readonly Finding[] {
  const [cell] = cells;
  if (cell === undefined) return [unknown('there is no Cell document, and so no catalogue of scopes', 'add it')];
  const scopes = [...cell.scopes.keys()];
  const scopeBytes = scopes.reduce((sum, scope) => sum + scope.length + 1, 0);
  const bytes = Math.ceil(((claimsBytes + scopeBytes) * 4) / 3) + tokenFrameBytes;
  const what = `a token with all ${counted(scopes.length, 'scope')} has about ${bytes} bytes, of ${tokenBytesMax} that are minted`;
  if (bytes <= tokenBytesWarn) return [ok(what)];
  return [warn(what, 'give keys only the scopes that they need, and shorten or join scopes of the catalogue')];
}

function placed({ file, line, rule, message }: LintFinding): string {
  return `${file}:${line}: ${message} (${rule})`;
}
