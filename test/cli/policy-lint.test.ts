import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv } from 'ajv';
import { runCommand } from '../support/command.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const examples = join(import.meta.dirname, '../../examples/messaging/policy');

/** The manifests of the example, one of them with another text in place of some of its own. */
async function changed(directory: string, file: string, from: string, to: string): Promise<string> {
  const copy = join(directory, 'policy');
  await cp(examples, copy, { recursive: true });
  const path = join(copy, file);
  const text = await readFile(path, 'utf8');
  assert.ok(text.includes(from));
  await writeFile(path, text.replace(from, to));
  return copy;
}

describe('`policy lint`', () => {
  test('finds nothing in the manifests of the example', async () => {
    const { code, stdout, stderr } = await runCommand(['policy', 'lint', examples, '--fail-on', 'warning']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(stdout, '0 errors, 0 warnings, 0 notes in 6 files; 1 more allowed by comments\n');
  });

  test('prints a line for each finding, and fails from the severity on that is said', async () => {
    await using directory = await temporaryDirectory();
    const policy = await changed(directory.path, 'api.yaml', 'carry: [messages:read, ', 'carry: [');
    const finding =
      'messaging.yaml:10:7: warning rule-unsatisfiable: rule read needs a customer with messages:read, and at most messaging/api brings deliveries:create, deliveries:read, messages:write of a customer';
    const lenient = await runCommand(['policy', 'lint', policy]);
    assert.deepEqual([lenient.code, lenient.stderr], [0, '']);
    assert.ok(lenient.stdout.includes(`${policy}/${finding}\n`), lenient.stdout);
    assert.match(lenient.stdout, /\n\n0 errors, 2 warnings, 0 notes in 6 files; 1 more allowed by comments\n$/);
    const strict = await runCommand(['policy', 'lint', policy, '--fail-on', 'warning']);
    assert.deepEqual([strict.code, strict.stdout], [1, lenient.stdout]);
  });

  test('shows of one file what is found in it, beside the others of its directory', async () => {
    await using directory = await temporaryDirectory();
    const policy = await changed(directory.path, 'api.yaml', 'carry: [messages:read, ', 'carry: [');
    const api = await runCommand(['policy', 'lint', join(policy, 'api.yaml')]);
    assert.equal(api.stdout, '0 errors, 0 warnings, 0 notes in 1 file\n');
    const messaging = await runCommand(['policy', 'lint', join(policy, 'messaging.yaml')]);
    assert.match(messaging.stdout, /\n\n0 errors, 2 warnings, 0 notes in 1 file\n$/);
  });

  test('shows all that is wrong with documents, and says what was not looked at', async () => {
    await using directory = await temporaryDirectory();
    const policy = await changed(directory.path, 'api.yaml', 'mode: enforce', 'mode: enforced');
    const { code, stdout } = await runCommand(['policy', 'lint', policy]);
    assert.equal(code, 1);
    assert.equal(
      stdout,
      `${policy}/api.yaml:7:9: error document-invalid: audit or enforce is expected, not "enforced"; did you mean \`enforce\`?\n\n1 error, 0 warnings, 0 notes in 6 files; what documents say together was not looked at\n`,
    );
  });

  test('takes the manifests of `up` where there are some, and otherwise those of the working directory', async () => {
    await using directory = await temporaryDirectory();
    await cp(examples, join(directory.path, 'policy'), { recursive: true });
    await writeFile(join(directory.path, 'installation.json'), JSON.stringify({ version: 2, portBase: 14_000 }));
    const { code, stdout } = await runCommand(['policy', 'lint', '--state', directory.path]);
    assert.deepEqual([code, stdout.includes('in 6 files')], [0, true]);
    const here = await runCommand(['policy', 'lint', '--state', join(directory.path, 'nowhere')]);
    assert.match(here.stdout, /^buf\.gen\.yaml:1:1: error document-invalid: /);
  });

  test('ends with a code of its own for what it cannot use', async () => {
    await using directory = await temporaryDirectory();
    await mkdir(join(directory.path, 'empty'));
    const cases: readonly [readonly string[], number, RegExp][] = [
      [[join(directory.path, 'empty')], 64, /holds no manifests \(\*\.yaml, \*\.yml\) \[document_invalid\]/],
      [[join(import.meta.dirname, '../../README.md')], 64, /is no manifest/],
      [[join(directory.path, 'nowhere')], 66, /cannot be read \[file_unreadable\]/],
      [[examples, '--fail-on', 'note'], 64, /Allowed choices are error, warning/],
      [[examples, '--expires-within', 'soon'], 64, /--expires-within must be a duration/],
      [[examples, '--json', '--sarif'], 64, /cannot be used with/],
    ];
    for (const [args, code, said] of cases) {
      const result = await runCommand(['policy', 'lint', ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, said);
    }
  });

  test('prints JSON', async () => {
    await using directory = await temporaryDirectory();
    const policy = await changed(
      directory.path,
      'store.yaml',
      '[messaging/messaging]',
      '[messaging/messaging, jobs/nightly]',
    );
    const { code, stdout } = await runCommand(['policy', 'lint', policy, '--json']);
    assert.equal(code, 0);
    const { suppressed, ...found } = JSON.parse(stdout) as { suppressed: { rule: string }[] };
    assert.deepEqual(
      suppressed.map(({ rule }) => rule),
      ['rule-unsatisfiable'],
    );
    assert.deepEqual(found, {
      findings: [
        {
          rule: 'peer-unknown',
          severity: 'note',
          file: join(policy, 'store.yaml'),
          line: 10,
          column: 7,
          message: 'rule keep: jobs/nightly has no manifest',
        },
      ],
      files: 6,
      isWhole: true,
    });
  });

  test('prints SARIF 2.1.0', async () => {
    await using directory = await temporaryDirectory();
    const policy = await changed(
      directory.path,
      'store.yaml',
      '[messaging/messaging]',
      '[messaging/messaging, jobs/nightly]',
    );
    const { code, stdout } = await runCommand(['policy', 'lint', policy, '--sarif']);
    assert.equal(code, 0);
    const log = JSON.parse(stdout) as SarifLog;
    const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(sarif);
    assert.ok(validate(log), JSON.stringify(validate.errors));
    const [run] = log.runs;
    const [result] = run!.results;
    assert.equal(run!.tool.driver.rules[result!.ruleIndex]!.id, 'peer-unknown');
    assert.deepEqual(
      [result!.ruleId, result!.level, result!.message.text, result!.locations[0]!.physicalLocation],
      [
        'peer-unknown',
        'note',
        'rule keep: jobs/nightly has no manifest',
        {
          artifactLocation: { uri: `file://${join(policy, 'store.yaml')}` },
          region: { startLine: 10, startColumn: 7 },
        },
      ],
    );
  });

  test('has a help with examples', async () => {
    const { code, stdout } = await runCommand(['policy', 'lint', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /Examples:\n {2}cellmesh policy lint policy\//);
  });
});

interface SarifLog {
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly rules: readonly { readonly id: string }[] } };
    readonly results: readonly {
      readonly ruleId: string;
      readonly ruleIndex: number;
      readonly level: string;
      readonly message: { readonly text: string };
      readonly locations: readonly { readonly physicalLocation: unknown }[];
    }[];
  }[];
}

/** What SARIF 2.1.0 (sections 3.13 to 3.30, 3.49) demands of the properties that we use; it has no others that we may add. */
const only = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});
const text = only({ text: { type: 'string', minLength: 1 } });
const level = { enum: ['none', 'note', 'warning', 'error'] };
const positive = { type: 'integer', minimum: 1 };
const sarif = only({
  $schema: { type: 'string', pattern: 'sarif-schema-2\\.1\\.0\\.json$' },
  version: { const: '2.1.0' },
  runs: {
    type: 'array',
    minItems: 1,
    items: only({
      tool: only({
        driver: only({
          name: { type: 'string', minLength: 1 },
          semanticVersion: { type: 'string', pattern: '^\\d+\\.\\d+\\.\\d+$' },
          rules: {
            type: 'array',
            uniqueItems: true,
            items: only({
              id: { type: 'string', pattern: '^[a-z-]+$' },
              shortDescription: text,
              help: text,
              defaultConfiguration: only({ level }),
            }),
          },
        }),
      }),
      columnKind: { enum: ['utf16CodeUnits', 'unicodeCodePoints'] },
      results: {
        type: 'array',
        items: only({
          ruleId: { type: 'string' },
          ruleIndex: { type: 'integer', minimum: 0 },
          level,
          message: text,
          locations: {
            type: 'array',
            minItems: 1,
            items: only({
              physicalLocation: only({
                artifactLocation: only({ uri: { type: 'string', pattern: '^[^\\s\\\\]+$' } }),
                region: only({ startLine: positive, startColumn: positive }),
              }),
            }),
          },
        }),
      },
    }),
  },
});
