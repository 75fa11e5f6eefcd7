import type { OpenFiles } from '#runtime/open-files.ts';
import {
  answersOf,
  type Check,
  everywhere,
  type Finding,
  fail,
  ok,
  orElse,
  unknown,
  warn,
} from '../check-definition.ts';
import type { Facts } from '../facts.ts';

/** Older ones lose the issuers of a client's chain (nodejs/node#65579); the launcher refuses them too. */
const nodeMin = [26, 10] as const;
/** They switch off what peers are told from attackers by. */
const unsafeOptions = ['--insecure-http-parser', '--tls-min-v1.0', '--tls-min-v1.1', '--inspect', '--inspect-brk'];
const minorsBackMax = 2;
const openFilesMin = 4096;
const openFilesShareMax = 0.8;

const nodeUpgrade = 'run it on Node 26.10 or later';

export const programChecks: readonly Check[] = [
  {
    id: 'node-version',
    group: 'programs',
    places: everywhere,
    question: 'Does every program run on a Node whose TLS and HTTP parser are sound?',
    pain: 'Parser and URI SAN traps of older Node',
    judge: (facts) =>
      orElse(
        programsOf(facts)
          .filter(({ nodeVersion }) => nodeVersion !== '' && isBefore(nodeVersion))
          .map(({ name, nodeVersion }) => fail(`${name} runs on Node ${nodeVersion}`, nodeUpgrade)),
        `Node ${facts.program.nodeVersion}${programsOf(facts).length > 1 ? ', and 26.10 or later everywhere' : ''}`,
      ),
  },
  {
    id: 'node-options',
    group: 'programs',
    places: ['machine'],
    question: 'Does `NODE_OPTIONS` leave the protections of Node as they are?',
    pain: 'Lenient parsers, through which requests are smuggled',
    judge: ({ program, machine }) =>
      machine === undefined
        ? []
        : orElse(
            unsafeOptions
              .filter((option) => program.nodeOptions.split(/\s+/).includes(option))
              .map((option) =>
                fail(
                  `NODE_OPTIONS has ${option}, for everything that is started here`,
                  'take it out, and start the cell again',
                ),
              ),
            'it does',
          ),
  },
  {
    id: 'versions',
    group: 'programs',
    places: everywhere,
    question: 'Do the versions of command, control plane and sidecars go together?',
    pain: 'Version skew changes meaning',
    judge: judgeVersions,
  },
  {
    id: 'open-files',
    group: 'programs',
    places: everywhere,
    question: 'May every program open as many files and connections as it needs?',
    pain: 'Connection leaks and limits',
    judge: judgeOpenFiles,
  },
];

interface Program {
  readonly name: string;
  readonly version: string;
  readonly nodeVersion: string;
  readonly openFiles?: OpenFiles | undefined;
}

function programsOf({ program, controlPlane, machine }: Facts): readonly Program[] {
  const sidecars = (machine?.sidecars ?? []).flatMap(({ name, state }) =>
    'value' in state ? [{ name: `the sidecar of ${name}`, ...state.value }] : [],
  );
  return [{ name: 'this command', ...program }, ...answersOf({ controlPlane }), ...sidecars];
}

function isBefore(nodeVersion: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  return major < nodeMin[0] || (major === nodeMin[0] && minor < nodeMin[1]);
}

/** Control plane first, then sidecars; two minors back are supported (DESIGN.md 7). */
function judgeVersions(facts: Facts): readonly Finding[] {
  const { program } = facts;
  const gaps = facts.controlPlane.flatMap(({ name, said }) =>
    'unknown' in said
      ? [
          unknown(
            `this command is ${program.version}; of ${name}: ${said.unknown}`,
            'mend what the check `control-plane` says',
          ),
        ]
      : [],
  );
  const own = programsOf(facts).filter(({ name }) => name.startsWith('the sidecar of'));
  const problems = answersOf(facts).flatMap(({ name, version: leading, subscribers }) => {
    if (leading === '')
      return [warn(`${name} does not tell its version: it is older than this command`, upgradeControlPlane)];
    const all = [...own, ...subscribers.map(({ name, version }) => ({ name: `subscriber ${name}`, version }))];
    return [...judgeCommand(program.version, leading), ...all.flatMap((one) => judgeSidecar(one, leading))];
  });
  const leading = [...new Set(answersOf(facts).map(({ version }) => version))].join(', ');
  return orElse(
    [...problems, ...gaps],
    `control plane ${leading}, this command ${program.version}, and all sidecars go together`,
  );
}

const upgradeControlPlane = 'upgrade the control plane first, then the sidecars';

function judgeCommand(version: string, leading: string): readonly Finding[] {
  const behind = minorsBehind(version, leading);
  if (behind !== undefined && Math.abs(behind) <= minorsBackMax) return [];
  return [
    warn(
      `this command is ${version}, the control plane ${leading}`,
      `use a cellmesh ${minorOf(leading)} for this cell`,
    ),
  ];
}

function judgeSidecar({ name, version }: Pick<Program, 'name' | 'version'>, leading: string): readonly Finding[] {
  if (version === '')
    return [
      warn(
        `${name} does not tell its version: it is older than this`,
        'start it again with the version of the control plane',
      ),
    ];
  const behind = minorsBehind(version, leading);
  if (behind === undefined)
    return [fail(`${name} is ${version}, another major than the control plane's ${leading}`, upgradeControlPlane)];
  if (behind < 0)
    return [fail(`${name} is ${version}, newer than the control plane's ${leading}`, upgradeControlPlane)];
  if (behind > minorsBackMax)
    return [
      fail(
        `${name} is ${version}; the control plane's ${leading} supports two minors back`,
        'start it again with the version of the control plane',
      ),
    ];
  return [];
}

/** Undefined for another major. */
function minorsBehind(version: string, leading: string): number | undefined {
  const [major, minor = 0] = version.split('.').map(Number);
  const [leadingMajor, leadingMinor = 0] = leading.split('.').map(Number);
  return major === leadingMajor ? leadingMinor - minor : undefined;
}

function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

function judgeOpenFiles(facts: Facts): readonly Finding[] {
  const programs = programsOf(facts).filter(({ openFiles }) => openFiles !== undefined && openFiles.max > 0);
  const problems = programs.flatMap(({ name, openFiles }): Finding[] => {
    const { open, max } = openFiles!;
    if (max < openFilesMin)
      return [
        warn(`${name} may open ${max} files`, `raise the limit: \`ulimit -n ${16 * openFilesMin}\` before it starts`),
      ];
    return open > max * openFilesShareMax
      ? [
          fail(
            `${name} has ${open} files open, of ${max} that it may`,
            'raise the limit (`ulimit -n`), and look for what opens them',
          ),
        ]
      : [];
  });
  if (programs.length === 0) return [ok('this system does not tell of limits')];
  return orElse(problems, `${counted(programs.length)} may open at least ${openFilesMin} files each`);
}

function counted(programs: number): string {
  return programs === 1 ? '1 program' : `${programs} programs`;
}
