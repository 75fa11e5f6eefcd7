import { distance } from '../../output.ts';
import type { RootsReport } from '../../roots.ts';
import { type Check, everywhere, type Finding, fail, known, ok, warn } from '../check-definition.ts';
import type { Facts } from '../facts.ts';

/** Whoever was cut off comes back in this time, and whoever keeps roots has looked. */
const lateMs = 10 * 60_000;

export const rotationChecks: readonly Check[] = [
  {
    id: 'rotation',
    group: 'certificates',
    places: everywhere,
    question: 'Do roots rotate, and does no rotation stand still?',
    pain: 'A rotation that has reached some only',
    judge: (facts) =>
      facts.rotations.flatMap(({ of, roots }) =>
        known(roots, 'mend what the checks `control-plane` and `processes` say', (report) => [
          judgeRotation(of, report, facts),
        ]),
      ),
  },
];

function judgeRotation(of: string, report: RootsReport, facts: Facts): Finding {
  const { nowMs } = facts;
  const late = (moment: string | undefined) => moment !== undefined && Date.parse(moment) + lateMs < nowMs;
  const phase = (...names: readonly string[]) => report.roots.find((root) => names.includes(root.phase));
  const active = phase('active');
  if (active === undefined || Date.parse(active.notAfter) < nowMs)
    return fail(`${of} has no root that signs`, 'make a new one: `cellmesh certs recover` says who joins again');
  const published = phase('published');
  if (published !== undefined) return judgePublished(of, report, active, facts);
  const see = `see the log of whoever keeps the roots of ${of}`;
  const prepared = phase('prepared');
  if (late(prepared?.since)) return fail(`the new root of ${of} does not get into the trust bundle`, see);
  const former = phase('retiring', 'replaced');
  if (late(former?.until))
    return fail(`the former root of ${of} should have gone ${distance(Date.parse(former!.until!), nowMs)}`, see);
  if (late(report.rotatesAt))
    return fail(
      `a rotation of the root of ${of} should have begun ${distance(Date.parse(report.rotatesAt!), nowMs)}`,
      `begin it with \`cellmesh certs rotate-root\`, and ${see}`,
    );
  if ((prepared ?? former) !== undefined)
    return ok(`the root of ${of} rotates: \`cellmesh certs show\` says how far it is`);
  if (report.rotatesAt === undefined) return ok(`the root of ${of} is its operator's to rotate`);
  return ok(`the root of ${of} rotates ${distance(Date.parse(report.rotatesAt), nowMs)}`);
}

/** Who does not come back holds it up until it is urgent; by then it is better known. */
function judgePublished(
  of: string,
  { waitsFor, waitsUntil }: RootsReport,
  { notAfter }: RootsReport['roots'][number],
  { nowMs, failBeforeMs }: Facts,
): Finding {
  const isLate = waitsUntil !== undefined && Date.parse(waitsUntil) + lateMs < nowMs;
  if (!isLate || waitsFor.length === 0) return ok(`the new root of ${of} is in the trust bundle, and signs soon`);
  const ends = Date.parse(notAfter);
  const what = `the rotation of the root of ${of} waits for ${waitsFor.join(', ')}; the root in use ends ${distance(ends, nowMs)}`;
  const mend =
    'bring them back, so that they hear of it; `cellmesh certs rotate-root --retire-now` waits for nobody, and who has not heard joins again';
  return ends - nowMs < failBeforeMs ? fail(what, mend) : warn(what, mend);
}
