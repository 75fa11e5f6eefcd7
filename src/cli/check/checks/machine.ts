import { type Check, fail, known, onMachine, orElse, warn } from '../check-definition.ts';

const freeBytesFail = 256 * 1024 ** 2;
const freeBytesWarn = 2 * 1024 ** 3;

export const machineChecks: readonly Check[] = [
  {
    id: 'processes',
    group: 'machine',
    places: ['machine'],
    question: 'Do identity, control plane and router run, and are they ready?',
    pain: 'Errors that name no cause',
    judge: onMachine(({ processes }) =>
      orElse(
        processes.flatMap(({ name, waitsFor }) =>
          'unknown' in waitsFor
            ? [
                fail(
                  `${name} does not answer: ${waitsFor.unknown}`,
                  'start the cell: `cellmesh up`; its log says why it has ended',
                ),
              ]
            : waitsFor.value.map((reason) => fail(`${name} is not ready: ${reason}`, 'its log says more')),
        ),
        `ready: ${processes.map(({ name }) => name).join(', ')}`,
      ),
    ),
  },
  {
    id: 'ports',
    group: 'machine',
    places: ['machine'],
    question: 'While nothing runs: are the ports of the cell free?',
    pain: 'Starts that fail half-way',
    judge: onMachine(({ takenPorts }) =>
      takenPorts === undefined
        ? []
        : known(takenPorts, 'ask again when the cell has ended', (taken) =>
            orElse(
              taken.map((port) =>
                fail(
                  `port ${port} is in use by another program`,
                  'end that program, or begin anew with `--fresh --port-base`',
                ),
              ),
              'no other program has them',
            ),
          ),
    ),
  },
  {
    id: 'state-permissions',
    group: 'machine',
    places: ['machine'],
    question: 'Does the state directory belong to its owner alone?',
    pain: 'Keys that others can read',
    judge: onMachine(({ exposed, stateDir }) =>
      known(exposed, 'ask as the user that the cell runs as', (found) =>
        orElse(
          found.map(({ path, mode }) =>
            fail(`${path} has mode ${(mode & 0o777).toString(8)}: others get at it`, `chmod go= ${path}`),
          ),
          `${stateDir}: directories and keys are their owner's`,
        ),
      ),
    ),
  },
  {
    id: 'disk-space',
    group: 'machine',
    places: ['machine'],
    question: 'Is there room on the disk of the state directory?',
    pain: 'Decisions and last good state that cannot be written',
    judge: onMachine(({ disk, stateDir }) =>
      known(disk, 'see that the directory is there', ({ freeBytes, totalBytes }) => {
        const what = `${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} are free at ${stateDir}`;
        const mend = 'make room, or lower `--decisions-size-max`';
        if (freeBytes < freeBytesFail) return [fail(what, mend)];
        return orElse(freeBytes < freeBytesWarn ? [warn(what, mend)] : [], what);
      }),
    ),
  },
];

function gigabytes(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}
