import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  address,
  choice,
  duration,
  environmentNameOf,
  flag,
  flagOf,
  fraction,
  integer,
  loadConfig,
  optional,
  text,
} from '#runtime/config.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const settings = {
  cellName: text('Name of the cell.'),
  listen: address('Where it listens.', { host: '127.0.0.1', port: 14010 }),
  workers: integer('Workers.', { min: 1, max: 8, fallback: 2 }),
  ratio: fraction('A share.', 0.5),
  drain: duration('How long.', 10_000, 1_000),
  isOpen: flag('Open or not.', false),
  level: choice('What is logged.', ['info', 'error'], 'info'),
  note: optional(text('Anything.')),
};

const given = (environment: Record<string, string>, flags: Record<string, string> = {}) =>
  loadConfig(settings, { environment, flags });

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    assert.ok(isCellmeshError(error, 'config_invalid'));
    return error.problems;
  }
  assert.fail('the settings were accepted');
}

describe('settings', () => {
  test('have one name in three spellings', () => {
    assert.equal(flagOf('svidLifetime'), '--svid-lifetime');
    assert.equal(environmentNameOf('svidLifetime'), 'CELLMESH_SVID_LIFETIME');
  });

  test('are defaults, then the file, then the environment, then flags; the result is frozen', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'cell.yaml');
    await writeFile(file, 'cellName: from-file\nworkers: 3\nratio: 0.25\nisOpen: true\n');
    const config = loadConfig(settings, {
      file,
      environment: { CELLMESH_WORKERS: '4', CELLMESH_RATIO: '0.75', PATH: '/bin' },
      flags: { ratio: '1', note: undefined },
    });
    assert.deepEqual(
      { ...config },
      {
        cellName: 'from-file',
        listen: { host: '127.0.0.1', port: 14010 },
        workers: 4,
        ratio: 1,
        drain: 10_000,
        isOpen: true,
        level: 'info',
        note: undefined,
      },
    );
    assert.throws(() => Object.assign(config, { workers: 9 }), TypeError);
  });

  test('are refused with every problem of every source at once', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'cell.yaml');
    await writeFile(file, 'workers: 9\nworker: 1\nlisten: [a]\n');
    const run = () =>
      loadConfig(settings, { file, environment: { CELLMESH_RATIO: 'half' }, flags: { drain: '10', colour: 'red' } });
    assert.deepEqual(
      new Set(problemsOf(run)),
      new Set([
        `${file}:1:1: workers: must be a whole number from 1 to 8`,
        `${file}:2:1: worker: there is no such setting`,
        `${file}:3:1: listen: a single value is expected`,
        'CELLMESH_RATIO: must be a number from 0 to 1',
        '--drain: must be a whole number with a unit: 500ms, 30s, 5m, 12h, 7d',
        '--colour: there is no such setting',
        '--cell-name (or CELLMESH_CELL_NAME) is missing: Name of the cell.',
      ]),
    );
  });

  for (const [name, written, read] of [
    ['listen', '[::1]:80', { host: '::1', port: 80 }],
    ['listen', 'example.com:0', { host: 'example.com', port: 0 }],
    ['drain', '1500ms', 1_500],
    ['drain', '2h', 7_200_000],
    ['isOpen', 'true', true],
    ['level', 'error', 'error'],
  ] as const) {
    test(`read ${name} ${written}`, () => {
      assert.deepEqual(given({ CELLMESH_CELL_NAME: 'a' }, { [name]: written })[name], read);
    });
  }

  for (const [name, written] of [
    ['listen', 'localhost'],
    ['listen', '::1:80'],
    ['listen', 'a:65536'],
    ['workers', '2.5'],
    ['workers', '0x2'],
    ['workers', ''],
    ['ratio', '1.1'],
    ['ratio', '-0'],
    ['drain', '999ms'],
    ['drain', '1 s'],
    ['isOpen', 'yes'],
    ['level', 'INFO'],
    ['cellName', ''],
  ] as const) {
    test(`refuse ${name} ${JSON.stringify(written)}`, () => {
      assert.equal(problemsOf(() => given({ CELLMESH_CELL_NAME: 'a' }, { [name]: written })).length, 1);
    });
  }

  test('whatever is written, end in a value or in a typed error', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(settings), 'x'), fc.string()), (flags) => {
        try {
          given({}, flags);
        } catch (error) {
          assert.ok(isCellmeshError(error, 'config_invalid'));
        }
      }),
    );
  });

  test('in a file that cannot be read are one problem', () => {
    const run = () =>
      loadConfig(settings, { file: '/nonexistent/cell.yaml', environment: {}, flags: { cellName: 'a' } });
    assert.match(problemsOf(run)[0]!, /\/nonexistent\/cell\.yaml/);
  });
});
