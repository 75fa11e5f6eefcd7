import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { PolicyHistory } from '#api/generated/cellmesh/policy/v1/policy_history_pb.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import type { DecisionExplanation } from '#policy/explain/explain-decision.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { startCell } from '../support/start-cell.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const example = resolve(import.meta.dirname, '../../examples/messaging/policy');
const inExample = (...args: readonly string[]) =>
  runCommand(['policy', 'explain', ...args, '--manifests-dir', example]);

test('a decision is explained by the version that was in force, however policy has changed since', async () => {
  await using cell = await startCell();
  const token = await cell.mint({ scope: 'messages:read' });
  const refused = await cell.callAsRouter({ method: 'POST', token });
  assert.equal(refused.status, 403);
  const id = String(refused.headers['cellmesh-decision']);
  const { policyVersion } = await cell.findDecision(id);
  const services = join(cell.manifestsDir, 'services.yaml');
  const text = await readFile(services, 'utf8');
  await writeFile(
    services,
    text.replace('{ name: write, from: [router]', '{ name: nothing-like-it, from: [messaging/api]'),
  );
  await eventually(async () => {
    using client = await cell.client();
    assert.equal((await client.call(PolicyHistory.method.listVersions, {})).versions.length, 2);
  });

  const where = [
    ...['--address', `127.0.0.1:${cell.controlPlane.address.port}`],
    ...['--admin', join(dirname(cell.manifestsDir), 'control-plane/admin')],
  ];
  const { code, stdout, stderr } = await runCommand(['policy', 'explain', id, ...where]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^DENIED with 403 scope_missing\.$/m);
  assert.match(
    stdout,
    new RegExp(`^Rules of messaging/api, version ${policyVersion}, which was in force, nearest first \\(2\\):$`, 'm'),
  );
  assert.match(stdout, /^ {2}✖ write {2}path, method, peer, account hold\n {11}scopes fails\n/m);
  assert.match(
    stdout,
    /^For rule `write` to allow it, which takes the fewest changes:\n {2}- grant messages:write to the customer's key$/m,
  );
  assert.doesNotMatch(stdout, /nothing-like-it/);
  assert.ok(!stdout.includes(token) && !stdout.includes(token.split('.')[2]!), 'the token is shown as claims');

  const short = await runCommand(['explain', id, ...where]);
  assert.equal(short.stdout, stdout);
  const json = JSON.parse((await runCommand(['explain', id, ...where, '--json'])).stdout) as DecisionRecord & {
    explanation: DecisionExplanation;
  };
  assert.deepEqual([json.id, json.reason, json.explanation.version], [id, 'scope_missing', policyVersion]);
  assert.deepEqual(json.explanation.needed, { rule: 'write', changes: ["grant messages:write to the customer's key"] });

  const unknown = await runCommand(['policy', 'explain', 'api-1.nothing', ...where]);
  assert.deepEqual([unknown.code, unknown.stdout], [66, '']);
  assert.match(unknown.stderr, /no decision api-1\.nothing is known/);
});

describe('`policy explain` of a request that nobody made', () => {
  test('by flags, and as cases have it, is decided by the manifests of a directory', async () => {
    const flags = await inExample(
      '--from',
      'messaging/api',
      '--to',
      'messaging/messaging',
      '--method',
      'POST',
      '--path',
      '/messages',
      '--scopes',
      'messages:read, messages:write',
      '--left',
      'messages:read',
      '--actor',
      'bot',
      '--claims',
      '{"plan":"gold"}',
      '--time',
      '2027-01-01T00:00:00Z',
    );
    assert.deepEqual([flags.code, flags.stderr], [0, '']);
    assert.match(flags.stdout, /^Left {6}messages:read$/m);
    assert.match(flags.stdout, /^ {10}act: {"sub":"bot"}$/m);
    assert.match(flags.stdout, /^ {10}plan: "gold"$/m);
    assert.match(flags.stdout, /^DENIED with 403 scope_not_carried, on the callee's side\.$/m);
    assert.match(flags.stdout, /^ {2}- add messages:write to `carry` of a call before: it was not left$/m);
    const whole = await inExample(
      '--request',
      '{ from: messaging/api, to: messaging/messaging, method: POST, path: /messages, time: 2027-01-01T00:00:00Z, token: { scopes: [messages:read, messages:write], left: [messages:read], act: { sub: bot }, claims: { plan: gold } } }',
    );
    assert.equal(whole.stdout, flags.stdout);
    const json = JSON.parse(
      (await inExample('--from', 'messaging/messaging', '--to', 'messaging/store', '--tcp', '--json')).stdout,
    );
    assert.deepEqual(json.decision, { outcome: 'allow', rule: 'keep', granted: 'records:keep' });
    assert.equal(json.rules[0].allows, true);
  });

  test("on the caller's side says what to declare", async () => {
    const { stdout } = await inExample('--from', 'messaging/api', '--to', 'messaging/store', '--tcp');
    assert.match(stdout, /^DENIED with 403 not_declared, on the caller's side\.$/m);
    assert.match(stdout, /^ {2}- add `to: messaging\/store` to `calls` of messaging\/api$/m);
  });

  test('of a case shows every hop of it', async () => {
    const named = `${join(example, 'delivery.test.yaml')}#a delivery is followed for the customer, down to the carrier`;
    const { code, stdout } = await runCommand(['policy', 'explain', '--case', named]);
    assert.equal(code, 0);
    assert.deepEqual(
      [...stdout.matchAll(/^ALLOWED by rule `(.*)`\.$/gm)].map(([, rule]) => rule),
      ['track', 'track'],
    );
    const json = JSON.parse((await runCommand(['policy', 'explain', '--case', named, '--json'])).stdout);
    assert.deepEqual(
      json.map(({ request }: { request: { left: string } }) => request.left),
      ['deliveries:read messages:read', 'deliveries:read'],
    );
  });

  test('of a service with many rules shows the nearest five, or all', async () => {
    await using directory = await temporaryDirectory();
    await writeFile(join(directory.path, 'cell.yaml'), await readFile(join(example, 'cell.yaml')));
    const rules = Array.from(
      { length: 10_000 },
      (_, n) => `    - { name: r${n}, from: [a/other], http: { paths: [/x/${n}] } }\n`,
    );
    const policy = `apiVersion: cellmesh.io/v1alpha1\nkind: ServicePolicy\nmetadata: { name: big, namespace: a }\nspec:\n  serviceAccount: big\n  mode: enforce\n  ports: [{ port: 80, protocol: http }]\n  allow:\n${rules.join('')}`;
    await writeFile(join(directory.path, 'big.yaml'), policy);
    const ask = (...more: string[]) =>
      runCommand([
        'policy',
        'explain',
        '--request',
        '{ from: a/b, to: a/big, method: GET, path: /x/7777 }',
        '--manifests-dir',
        directory.path,
        ...more,
      ]);
    const { stdout } = await ask();
    assert.match(stdout, /nearest first \(5 of 10000\):\n {2}✖ r7777 {2}path holds\n/);
    assert.equal([...stdout.matchAll(/^ {2}✖ /gm)].length, 5);
    assert.equal([...(await ask('--all-rules')).stdout.matchAll(/^ {2}✖ /gm)].length, 10_000);
  });

  test('that is wrong ends with 64, one that is not there with 66', async () => {
    const cases: readonly [readonly string[], number, RegExp][] = [
      [[], 64, /one of a decision id, --case, --request and --from is explained/],
      [['x', '--from', 'router'], 64, /one of a decision id, --case, --request and --from is explained/],
      [['--request', '{ from: router }', '--to', 'a/b'], 64, /--request says all of a request/],
      [
        ['--request', '{ from: router, too: a/b }'],
        64,
        /^cellmesh: --request:1:17: unknown key `too`; did you mean `to`\?/,
      ],
      [['--request', ''], 64, /--request:1:1: a request is expected/],
      [['--from', 'api', '--to', 'a/b', '--tcp'], 64, /^cellmesh: "api" is not namespace\/service-account/],
      [
        ['--from', 'router', '--to', 'messaging/apu', '--method', 'GET', '--path', '/'],
        64,
        /no manifest declares messaging\/apu; did you mean/,
      ],
      [
        [
          '--from',
          'router',
          '--to',
          'messaging/api',
          '--method',
          'GET',
          '--path',
          '/',
          '--scopes',
          'a:b',
          '--claims',
          '{',
        ],
        64,
        /--claims is no JSON/,
      ],
      [['--case', `${example}/none.test.yaml#x`], 66, /none\.test\.yaml is no file \*\.test\.yaml/],
      [['--case', `${example}/api.test.yaml#x`], 66, /has no case "x"/],
    ];
    for (const [args, code, said] of cases) {
      const result = await inExample(...args);
      assert.deepEqual([result.code, result.stdout], [code, ''], `${args.join(' ')}: ${result.stderr}`);
      assert.match(result.stderr, said);
    }
  });
});
