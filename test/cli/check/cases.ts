import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Check, Verdict } from '#cli/check/check-definition.ts';
import type { Facts } from '#cli/check/facts.ts';
import { judge } from '#cli/check/judge.ts';

/** Something that is not well, and what a check says of it. */
export interface Case {
  readonly name: string;
  readonly facts: Facts;
  readonly verdict: Exclude<Verdict, 'ok'>;
  readonly says: RegExp;
}

/** Tests that each of the checks notices its cases, and that none is without one. */
export function checkCases(
  name: string,
  checks: readonly Check[],
  cases: Readonly<Record<string, readonly Case[]>>,
): void {
  describe(name, () => {
    for (const [id, list] of Object.entries(cases)) {
      for (const { name, facts, verdict, says } of list) {
        test(`${id} notices: ${name}`, () => {
          const [result] = judge(
            checks.filter((check) => check.id === id),
            facts,
          );
          assert.ok(result, `there is a check ${id} with something to look at`);
          const found = result.findings.filter((one) => one.verdict === verdict);
          assert.match(found.map(({ what }) => what).join('\n'), says, JSON.stringify(result.findings));
          for (const finding of found) assert.ok('mend' in finding && finding.mend !== '', 'it says how it is mended');
        });
      }
    }

    test('all have something here that they notice', () => {
      assert.deepEqual(new Set(checks.map(({ id }) => id)), new Set(Object.keys(cases)));
    });
  });
}
