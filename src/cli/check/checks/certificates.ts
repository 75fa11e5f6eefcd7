import { backdateMs } from '#certs/roots.ts';
import { durationText } from '#runtime/duration.ts';
import { distance } from '../../output.ts';
import {
  answersOf,
  type Check,
  counted,
  everywhere,
  type Finding,
  fail,
  known,
  onMachine,
  orElse,
} from '../check-definition.ts';
import type { CertificateKind, CertificateSpan, Facts } from '../facts.ts';

interface EndRule {
  readonly kind: CertificateKind;
  /** `root`, in what is said. */
  readonly noun: string;
  /** Of what renews itself: it is late when less than this share of its life is left, however far ahead one wants to look. */
  readonly renewal?: { readonly shareMin: number; readonly words: string };
  readonly mend: string;
}

const endRules = {
  'roots-end': {
    kind: 'root',
    noun: 'root',
    mend: 'rotate it: `cellmesh certs rotate-root`; one that has ended: `cellmesh certs recover` (docs/operations.md#roots)',
  },
  'intermediates-end': {
    kind: 'intermediate',
    noun: 'intermediate',
    // Replaced at half of its life, and in chains for as long as an SVID lives after that.
    renewal: { shareMin: 0.25, words: 'a quarter of its life' },
    mend: 'the control plane replaces it at half of its life: see what its log says of its root; then start whom it is of again',
  },
  'svids-end': {
    kind: 'svid',
    noun: 'SVID',
    // Renewed after a sixth of it, at the latest a third.
    renewal: { shareMin: 0.5, words: 'half of its life' },
    mend: 'it should have been renewed: see the log of whom it is of; `cellmesh up`, or a new join token (`cellmesh join-token create`), gives a new one',
  },
  'edge-certificate-ends': {
    kind: 'web',
    noun: 'HTTPS certificate',
    mend: 'start `cellmesh up` again, which renews it in its last 30 days; one of your own: put the new files in place and start the router again',
  },
  'federation-ends': {
    kind: 'federated',
    noun: 'last root',
    mend: 'ask them for their newest trust bundle, and put it into `federation` of the Cell (docs/manifest.md)',
  },
  'webhook-certificate-ends': {
    kind: 'webhook',
    noun: 'webhook root',
    mend: 'the leader of the control plane keeps `caBundle` current: see the log of whoever holds the Lease',
  },
} as const satisfies Readonly<Record<string, EndRule>>;

export const certificateChecks: readonly Check[] = [
  endCheck('roots-end', everywhere, 'Do the roots of cell and global trust domain hold for long enough?'),
  endCheck('federation-ends', everywhere, 'Do the bundles of others, in `federation`, hold for long enough?'),
  endCheck('intermediates-end', everywhere, 'Are the intermediates replaced in time?'),
  endCheck('svids-end', everywhere, 'Are the SVIDs of workloads, router and administrators renewed in time?'),
  endCheck('edge-certificate-ends', ['machine'], 'Does the HTTPS certificate that customers see hold for long enough?'),
  endCheck(
    'webhook-certificate-ends',
    ['cluster'],
    'Does the authority that the API server trusts for the webhooks hold?',
  ),
  {
    id: 'trust-bundles',
    group: 'certificates',
    places: ['machine'],
    question: 'Do sidecars and router trust the roots that the control plane hands out?',
    pain: 'A rotation that has reached some only',
    judge: onMachine(({ roots, heldRoots }, facts) =>
      known(roots, 'start the control plane, which writes its trust bundle', (expected) =>
        orElse(
          [
            ...differing('the trust bundle on disk', expected, facts),
            ...heldRoots.flatMap(({ name, roots: held }) =>
              known(held, `start ${name}, which stores what it trusts`, (found) =>
                sameSet(found, expected)
                  ? []
                  : [fail(`${name} trusts other roots than the control plane hands out`, bundleMend)],
              ),
            ),
          ],
          `${counted(heldRoots.length, 'identity').replace(/identitys$/, 'identities')} trust the ${counted(expected.length, 'root')} of the cell`,
        ),
      ),
    ),
  },
];

const bundleMend =
  'let it reach the control plane (`sidecars-behind`, `state-age`); if it has missed a whole rotation, give it a new join token';

function endCheck(id: keyof typeof endRules, places: Check['places'], question: string): Check {
  const rule: EndRule = endRules[id];
  const pain = 'Expiry takes production down, and the tool that should say so only warns';
  return { id, group: 'certificates', places, question, pain, judge: (facts) => judgeEnds(facts, rule) };
}

function judgeEnds(facts: Facts, rule: EndRule): readonly Finding[] {
  const places = facts.certificates.filter(({ kinds }) => kinds.includes(rule.kind));
  const problems: Finding[] = [];
  let first = Number.POSITIVE_INFINITY;
  let count = 0;
  for (const { of, found } of places) {
    problems.push(
      ...known(found, `see that ${of} has run, and that you may read its files`, (spans) =>
        spans.filter(({ kind }) => kind === rule.kind).flatMap((span) => judgeSpan(of, span, rule, facts)),
      ),
    );
    for (const { kind, notAfter } of 'value' in found ? found.value : []) {
      if (kind !== rule.kind) continue;
      count++;
      first = Math.min(first, notAfter);
    }
  }
  if (count === 0 && problems.length === 0) return [];
  return orElse(problems, `${counted(count, rule.noun)}, the first ends ${distance(first, facts.nowMs)}`);
}

function judgeSpan(
  of: string,
  { notBefore, notAfter }: CertificateSpan,
  rule: EndRule,
  { nowMs, failBeforeMs }: Facts,
): Finding[] {
  const { noun, mend, renewal } = rule;
  const what = `the ${noun} of ${of}`;
  if (notAfter < nowMs) return [fail(`${what} ended ${distance(notAfter, nowMs)}`, mend)];
  if (notBefore > nowMs)
    return [fail(`${what} begins only ${distance(notBefore, nowMs)}`, 'set the clock of this machine right, or wait')];
  const lateMs =
    renewal === undefined ? Number.POSITIVE_INFINITY : (notAfter - notBefore - backdateMs) * renewal.shareMin;
  const leftMs = notAfter - nowMs;
  if (leftMs >= Math.min(failBeforeMs, lateMs)) return [];
  const words = failBeforeMs <= lateMs ? durationText(failBeforeMs) : renewal!.words;
  return [fail(`${what} ends ${distance(notAfter, nowMs)}; it should hold for ${words}`, mend)];
}

/** Whether a written bundle is behind what the control plane hands out; nothing where it is not known. */
export function differing(what: string, roots: readonly string[], facts: Facts): readonly Finding[] {
  const handedOut = answersOf(facts)[0]?.roots;
  if (handedOut === undefined || sameSet(roots, handedOut)) return [];
  return [
    fail(
      `${what} is not the one that the control plane hands out`,
      'start the control plane again, which writes it; see its log',
    ),
  ];
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((entry) => other.includes(entry));
}
