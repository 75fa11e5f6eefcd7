import { createHash } from 'node:crypto';
import type { ErrorCode } from '#runtime/error-codes.ts';
import {
  answersOf,
  type Check,
  counted,
  eachReplica,
  everywhere,
  type Finding,
  fail,
  ok,
  orElse,
  unknown,
  warn,
} from '../check-definition.ts';
import type { ControlPlaneFacts, Facts, ReplicaFacts } from '../facts.ts';

const skewWarnMs = 30_000;
/** SVIDs are back-dated by two minutes: beyond that a new one is not yet valid. */
const skewFailMs = 120_000;
/** Identity stands by its keys every few seconds, and what is older than twelve hours is dropped. */
const keysAgeWarnMs = 5 * 60_000;
const keysAgeFailMs = 11 * 3600_000;
const storeShareMax = 0.9;

/** Why nobody could be asked, which says nothing of the control plane. */
const askerMends: Readonly<Partial<Record<ErrorCode, string>>> = {
  kubectl_failed:
    'install `kubectl`, and let it reach the cluster with the rights of docs/check.md; or `--address` and `--token-file`',
  rpc_denied: 'bind the right that it names to whoever asks (docs/operations.md, operators in a cluster)',
  trust_bundle_invalid: 'say `--trust-domain`, or see the check `trust-bundle-maps`',
};

export const controlPlaneChecks: readonly Check[] = [
  {
    id: 'control-plane',
    group: 'control plane',
    places: everywhere,
    question: 'Does the control plane answer?',
    pain: 'Stale state that nobody notices',
    judge: ({ controlPlane }) => controlPlane.map(judgeReplica),
  },
  {
    id: 'replicas-agree',
    group: 'control plane',
    places: ['cluster'],
    question: 'Do all replicas hand out the same, by the same version?',
    pain: 'Version skew changes meaning',
    judge: judgeAgreement,
  },
  said(
    'clock',
    'Do the clocks of this machine and the control plane agree?',
    'Certificates that are not valid yet',
    judgeClock,
  ),
  said('token-keys', 'Are the keys of tokens known, and fresh?', 'Key sets that cannot be fetched', judgeKeys),
  said('decision-store', 'Is there room for decisions?', 'Decisions that nobody can explain', judgeStore),
  said(
    'sidecars-behind',
    'Has every sidecar taken what it was sent last?',
    'Stale state that nobody notices',
    judgeBehind,
  ),
];

function said(
  id: string,
  question: string,
  pain: string,
  judge: (said: ControlPlaneFacts) => readonly Finding[],
): Check {
  return {
    ...{ id, group: 'control plane', places: everywhere, question, pain },
    judge: (facts: Facts) => eachReplica(facts, judge),
  };
}

function judgeReplica({ name, said }: ReplicaFacts): Finding {
  if ('value' in said) return ok(`${name} answers, in ${Math.round(said.value.receivedMs - said.value.sentMs)} ms`);
  const mend = said.code && askerMends[said.code];
  if (mend !== undefined) return unknown(`${name} was not asked: ${said.unknown}`, mend);
  return fail(
    `${name}: ${said.unknown}`,
    'start it (`cellmesh up`), or see its log; running pods are served on for as long as their SVIDs live',
  );
}

/** While a change goes round they differ, for a moment. */
function judgeAgreement(facts: Facts): readonly Finding[] {
  const answers = answersOf(facts);
  if (answers.length < 2) return [];
  const differing = (what: string, of: (answer: ControlPlaneFacts) => string) => {
    const all = answers.map((answer) => ({ name: answer.name, value: of(answer) }));
    if (new Set(all.map(({ value }) => value)).size === 1) return [];
    const told = all.map(({ name, value }) => `${name} ${value}`).join(', ');
    return [warn(`${what} differs: ${told}`, 'ask again in a few seconds; if it stays, see the logs of the replicas')];
  };
  return orElse(
    [
      ...differing('the version of the program', ({ version }) => version),
      ...differing('the policy in force', ({ policyVersion }) => policyVersion),
      ...differing('the trust bundle', ({ roots = [] }) => rootsText(roots)),
    ],
    `${counted(answers.length, 'replica')} with the same`,
  );
}

/** Of each root what tells it from others, for people. */
function rootsText(roots: readonly string[]): string {
  return roots.map((der) => createHash('sha256').update(der, 'base64').digest('hex').slice(0, 8)).join('+') || 'none';
}

/** Half of the way there and back is how far the answer can be off. */
function judgeClock({ sentMs, receivedMs, timeMs }: ControlPlaneFacts): readonly Finding[] {
  if (timeMs === undefined) return [unknown('the control plane is too old to tell its time', 'upgrade it')];
  const skewMs = timeMs - (sentMs + receivedMs) / 2;
  const marginMs = (receivedMs - sentMs) / 2;
  const direction = skewMs > 0 ? 'behind' : 'ahead of';
  const what = `this machine is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${direction} the control plane (± ${(marginMs / 1000).toFixed(1)} s)`;
  const mend = 'synchronise both clocks (NTP); SVIDs are back-dated by 2 min, tokens may be off by 30 s';
  const surelyMs = Math.abs(skewMs) - marginMs;
  if (surelyMs >= skewFailMs) return [fail(what, mend)];
  return surelyMs >= skewWarnMs ? [warn(what, mend)] : [ok(what)];
}

function judgeKeys({ tokenKeys }: ControlPlaneFacts): readonly Finding[] {
  if (tokenKeys === undefined) return [ok('the cell has no identity service, and so no tokens of customers')];
  const { count, isConnected, ageMs } = tokenKeys;
  const mend =
    'start identity, and register the cell there (`cellmesh cells register`); the log of the control plane says what is wrong';
  if (count === 0 || ageMs === undefined)
    return [fail('the control plane knows no keys: every token is refused', mend)];
  const age = `${Math.round(ageMs / 1000)} s`;
  const what = `${counted(count, 'key')}, by the word of identity ${age} ago`;
  if (ageMs >= keysAgeFailMs) return [fail(`${what}: after 12 h they are dropped, and every token is refused`, mend)];
  if (!isConnected || ageMs >= keysAgeWarnMs) return [warn(`${what}; identity is not connected`, mend)];
  return [ok(what)];
}

function judgeStore({ decisions }: ControlPlaneFacts): readonly Finding[] {
  if (decisions === undefined) return [unknown('the control plane is too old to tell', 'upgrade it')];
  const { records, bytes, bytesMax } = decisions;
  const what = `${counted(records, 'decision')} in ${megabytes(bytes)} of ${megabytes(bytesMax)}`;
  return bytes > bytesMax * storeShareMax
    ? [
        warn(
          `${what}: the oldest go before their time`,
          'raise `--decisions-size-max`, or report fewer permits (`--reported-permits-share`)',
        ),
      ]
    : [ok(what)];
}

function judgeBehind({ subscribers }: ControlPlaneFacts): readonly Finding[] {
  const problems = subscribers.flatMap(({ name, types }) =>
    types.flatMap(({ type, revisionSent, revisionAcked, nackReason }): Finding[] => {
      if (nackReason !== '')
        return [
          fail(
            `${name} refuses the newest ${type}: ${nackReason}`,
            'the one before stays in force there; start it with the version of the control plane',
          ),
        ];
      return revisionSent > revisionAcked
        ? [
            warn(
              `${name} has not acknowledged the newest ${type}`,
              'ask again in a few seconds; if it stays, see its log and its connection',
            ),
          ]
        : [];
    }),
  );
  return orElse(problems, `${counted(subscribers.length, 'subscriber')}, and each has the newest of everything`);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
