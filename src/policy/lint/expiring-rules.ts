import type { ServicePolicy } from '../manifest.ts';
import type { Report } from './subject.ts';

interface Times {
  readonly nowMs: number;
  readonly expiresWithinMs: number;
}

const plaintextDaysMax = 90;

/** Whether callers without TLS are let in for no longer than a move takes, and how long still. */
export function checkPlaintext(policy: ServicePolicy, report: Report, { nowMs, expiresWithinMs }: Times): void {
  const { plaintextUntilMs: untilMs, allow, rollout } = policy;
  for (const { value, at } of allow)
    if (untilMs === undefined && rollout === undefined && value.from.some(({ kind }) => kind === 'unmeshed'))
      report('unmeshed-never-comes', policy, at, `rule ${value.name} is for \`unmeshed\`, and \`inbound\` is strict`);
  if (untilMs === undefined) return;
  const until = new Date(untilMs).toISOString();
  if (untilMs <= nowMs) report('plaintext-ended', policy, policy.at, `\`inbound\` is strict since ${until}`);
  else if (untilMs > nowMs + plaintextDaysMax * 86_400_000)
    report('plaintext-too-long', policy, policy.at, `${until} is more than ${plaintextDaysMax} days ahead`);
  else if (untilMs <= nowMs + expiresWithinMs)
    report('plaintext-ends', policy, policy.at, `from ${until} on callers without TLS are turned away`);
}

/** Rules that have ended, and rules that will before long. */
export function checkExpiringRules(policy: ServicePolicy, report: Report, { nowMs, expiresWithinMs }: Times): void {
  for (const { value, at } of policy.allow) {
    const { name, untilMs } = value;
    if (untilMs === undefined) continue;
    const until = new Date(untilMs).toISOString();
    if (untilMs <= nowMs) report('rule-expired', policy, at, `rule ${name} ended at ${until}`);
    else if (untilMs <= nowMs + expiresWithinMs) report('rule-expires', policy, at, `rule ${name} ends at ${until}`);
  }
}
