import type { ServicePolicy } from '../manifest.ts';
import type { Report } from './subject.ts';

/** Rules that have ended, and rules that will before long. */
export function checkExpiringRules(
  policy: ServicePolicy,
  report: Report,
  { nowMs, expiresWithinMs }: { readonly nowMs: number; readonly expiresWithinMs: number },
): void {
  for (const { value, at } of policy.allow) {
    const { name, untilMs } = value;
    if (untilMs === undefined) continue;
    const until = new Date(untilMs).toISOString();
    if (untilMs <= nowMs) report('rule-expired', policy, at, `rule ${name} ended at ${until}`);
    else if (untilMs <= nowMs + expiresWithinMs) report('rule-expires', policy, at, `rule ${name} ends at ${until}`);
  }
}
