import { type Check, counted, type Finding, fail, onMachine, orElse, unknown, warn } from '../check-definition.ts';
import type { SidecarState } from '../facts.ts';

const feedAgeWarnMs = 60_000;

export const sidecarChecks: readonly Check[] = [
  {
    id: 'sidecars',
    group: 'sidecars',
    places: ['machine'],
    question: 'Does every sidecar answer at its admin socket?',
    pain: 'Applications that start before their proxy',
    judge: onMachine(({ sidecars }) =>
      orElse(
        sidecars.flatMap(({ name, state }) =>
          'unknown' in state
            ? [
                fail(
                  `${name} does not answer: ${state.unknown}`,
                  'start it: `cellmesh up`; its log says why it has ended',
                ),
              ]
            : [],
        ),
        `${counted(sidecars.length, 'sidecar')} answer`,
      ),
    ),
  },
  ofSidecars(
    'sidecars-ready',
    'Is every sidecar ready?',
    'Applications that start before their proxy',
    ({ notReady }) => notReady.filter((reason) => !reason.startsWith('inbound_open')),
    (name, reason) =>
      fail(`${name} is not ready: ${reason}`, 'its log says more; `docs/errors.md` explains the reasons'),
    'ready',
  ),
  ofSidecars(
    'inbound-open',
    'Is every application reached through its sidecar only?',
    'Pods that others reach unmeshed',
    ({ notReady }) => notReady.filter((reason) => reason.startsWith('inbound_open')),
    (name, reason) =>
      fail(
        `${name}: ${reason.replace(/^inbound_open: /, '')}`,
        'let the application listen on loopback only, or close the port with a NetworkPolicy and set `--open-port-vouched`',
      ),
    'without an open port of its application',
  ),
  ofSidecars(
    'state-age',
    'Has every sidecar heard of the control plane lately?',
    'Stale state that nobody notices',
    ({ feed }) => (feed.isStale || feed.ageMs === undefined || feed.ageMs >= feedAgeWarnMs ? [feed] : []),
    (name, { isStale, ageMs }) =>
      isStale || ageMs === undefined
        ? fail(
            `${name} has gone without the control plane's word for too long: it refuses what depends on it`,
            heardMend,
          )
        : warn(`${name} has heard nothing of the control plane for ${Math.round(ageMs / 1000)} s`, heardMend),
    'in touch with the control plane',
  ),
  ofSidecars(
    'sidecar-keys',
    'Does every sidecar know keys of tokens?',
    'Key sets that cannot be fetched',
    ({ keys }) => (keys === 0 ? [0] : []),
    (name) =>
      fail(
        `${name} knows no key: it refuses every token`,
        'see `token-keys`, and whether it reaches the control plane',
      ),
    'with keys',
  ),
  ofSidecars(
    'decisions-dropped',
    'Do all decisions reach the control plane?',
    'Decisions that nobody can explain',
    ({ droppedDecisions }) => (droppedDecisions > 0 ? [droppedDecisions] : []),
    (name, dropped) =>
      warn(
        `${name} had no room for ${counted(dropped, 'permit')} that it should have reported`,
        'they are in its log on disk; lower `--reported-permits`, or look for what holds the control plane up',
      ),
    'that report everything',
  ),
  ofSidecars(
    'sidecar-policy',
    'Does every sidecar enforce a policy?',
    'Policy that is half-way there',
    ({ policyVersion }) => (policyVersion === undefined ? [policyVersion] : []),
    (name) => fail(`${name} has no policy and refuses everything`, 'write a manifest for it (docs/manifest.md)'),
    'with policy',
  ),
];

const heardMend = 'start the control plane, or mend the connection to it; what it said last stays in force for 12 h';

function ofSidecars<T>(
  id: string,
  question: string,
  pain: string,
  problemsOf: (state: SidecarState) => readonly T[],
  describe: (name: string, problem: T) => Finding,
  well: string,
): Check {
  return {
    ...{ id, group: 'sidecars', places: ['machine'], question, pain },
    judge: onMachine(({ sidecars }) => {
      const silent = sidecars.filter(({ state }) => 'unknown' in state).map(({ name }) => name);
      const problems = sidecars.flatMap(({ name, state }) =>
        'value' in state ? problemsOf(state.value).map((problem) => describe(name, problem)) : [],
      );
      const gaps =
        silent.length === 0
          ? []
          : [unknown(`no answer from ${silent.join(', ')}`, 'mend what the check `sidecars` says')];
      return orElse([...problems, ...gaps], `${counted(sidecars.length, 'sidecar')} ${well}`);
    }),
  };
}
