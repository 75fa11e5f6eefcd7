import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { coverageOf } from '#policy/cases/coverage.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { failureLines, reportLines } from '#policy/cases/report.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { readTestFiles, readYamlFiles } from '#runtime/yaml-files.ts';

const root = join(import.meta.dirname, '../..');
const directory = join(root, 'examples/messaging/policy');
const manifests = await readYamlFiles(directory);
const policies = CellAtHand.read(manifests);
const nowMs = Date.parse('2027-01-01T00:00:00Z');

/** The manifests of the example with some of their text replaced. */
function changed(...changes: readonly [file: string, from: string, to: string][]): CellAtHand {
  const texts = new Map(manifests);
  for (const [file, from, to] of changes) {
    assert.ok(texts.get(file)!.includes(from), `${file}: ${from}`);
    texts.set(file, texts.get(file)!.replace(from, to));
  }
  return CellAtHand.read(texts);
}

const document = (cases: string) => `apiVersion: cellmesh.io/v1alpha1
kind: PolicyTest
metadata: { name: t }
spec:
  cases:
${cases}
`;
const single = (request: string, expect: string) =>
  document(`    - { name: one, request: { ${request} }, expect: { ${expect} } }`);

function run(text: string, of = policies) {
  return runCases(of, readCases(new Map([['a.test.yaml', text]])), nowMs);
}

function problemsOf(work: () => unknown): readonly string[] {
  try {
    work();
    return [];
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'), String(error));
    return error.problems;
  }
}

/** What is said to be otherwise than expected; empty for a case that passes. */
function said(request: string, expect: string, of = policies): string {
  const [result] = run(single(request, expect), of);
  return result!.hops
    .at(-1)!
    .differences.map(({ actual }) => actual)
    .join('; ');
}

const toApi = 'from: router, to: messaging/api, method: GET, path: /v1/messages/7';
const toDelivery = 'from: messaging/messaging, to: messaging/delivery, method: POST, path: /deliveries';
const create = 'token: { scopes: [deliveries:create] }';

describe('the sample application', () => {
  test('has cases that hold, and that reach every rule but the one that no call carries the scope for', async () => {
    const results = runCases(policies, readCases(await readTestFiles(directory)), nowMs);
    const failed = results.filter(({ isPassed }) => !isPassed);
    assert.deepEqual(
      failed.flatMap((result) => failureLines(policies, result)),
      [],
    );
    assert.ok(results.length >= 30);
    const { missed, percent } = coverageOf(policies, results);
    assert.deepEqual(missed, [{ service: 'messaging/delivery', rule: 'cancel' }]);
    assert.equal(percent, 93);
  });

  test('has cases that fail with manifests that allow less, or more', async () => {
    const cases = readCases(await readTestFiles(directory));
    const failures = (of: CellAtHand) =>
      runCases(of, cases, nowMs).flatMap(({ isPassed, test: { name } }) => (isPassed ? [] : [name]));
    assert.deepEqual(
      failures(
        changed([
          'delivery.yaml',
          'from: [messaging/messaging]\n      http: { methods: [POST]',
          'from: [messaging/api]\n      http: { methods: [POST]',
        ]),
      ),
      [
        'messaging makes no deliveries by itself',
        'a message goes all the way to the carrier, with fewer scopes at every hop',
      ],
    );
    assert.deepEqual(
      failures(
        changed(['api.yaml', '    - name: cancel', '    - name: anything\n      from: [router]\n    - name: cancel']),
      ).length > 2,
      true,
    );
  });
});

describe('a case', () => {
  test('is decided on both sides, as the mesh does: the caller first, then the callee', () => {
    const cases: readonly [request: string, expect: string, of?: CellAtHand][] = [
      [`${toApi}, token: { scopes: [messages:read] }`, 'allow: read, left: [messages:read]'],
      [`${toApi}, host: api.cellmesh.localhost, token: { scopes: [messages:read] }`, 'allow: read'],
      [`${toApi}, host: other.example, token: { scopes: [messages:read] }`, 'deny: route_unknown, by: caller'],
      [toApi, 'deny: credentials_missing, by: caller, condition: call'],
      [toApi, 'deny: token_missing, by: callee', changed(['api.yaml', 'auth: required', 'auth: none'])],
      [`${toDelivery}, ${create}`, 'allow: create, left: [deliveries:create]'],
      [toDelivery, 'deny: context_missing, by: caller, condition: context'],
      [`${toDelivery}, as: self, ${create}`, 'deny: token_missing, rule: create, condition: account'],
      [`${toDelivery}, expectAccount: AC${'2'.repeat(32)}, ${create}`, 'deny: account_mismatch, by: caller'],
      [
        `${toDelivery}, ${create}`,
        'deny: account_not_expected, by: caller',
        changed([
          'delivery.yaml',
          '      scopes: [deliveries:create]',
          '      scopes: [deliveries:create]\n      sensitive: true',
        ]),
      ],
      [
        `${toDelivery}, token: { scopes: [deliveries:create], left: [] }`,
        'deny: scope_not_carried, by: callee, rule: create, condition: scopes',
      ],
      // Whoever is no service of the cell has no sidecar that holds it back.
      [
        `from: messaging/stranger, to: messaging/delivery, method: POST, path: /deliveries, ${create}`,
        'deny: peer_not_allowed, by: callee',
      ],
      [
        `from: messaging/api, to: messaging/delivery, method: POST, path: /deliveries, ${create}`,
        'deny: not_declared, by: caller',
      ],
      ['from: messaging/messaging, to: messaging/store, tcp: true', 'allow: keep, left: [records:keep]'],
      ['from: messaging/messaging, to: messaging/delivery, tcp: true', 'deny: protocol_mismatch, by: caller'],
      [
        `from: messaging/messaging, to: messaging/delivery, method: GET, path: "/deliveries/%2f", ${create}`,
        'deny: path_encoded_separator',
      ],
      [
        `${toDelivery}, ${create}`,
        'audit: scope_not_carried, rule: create',
        changed(
          ['delivery.yaml', 'mode: enforce', 'mode: audit'],
          ['messaging.yaml', 'carry: [deliveries:create, deliveries:read]', 'carry: []\n      token: propagate'],
        ),
      ],
    ];
    for (const [request, expect, of] of cases) assert.equal(said(request, expect, of), '', `${request} -> ${expect}`);
  });

  test('fails when anything that it says is otherwise', () => {
    const request = `${toDelivery}, token: { scopes: [deliveries:create], left: [] }`;
    const refused = 'refused with scope_not_carried, by the callee, nearest rule create, condition scopes';
    for (const expect of [
      'deny: scope_missing',
      'deny: scope_not_carried, by: caller',
      'deny: scope_not_carried, rule: track',
      'deny: scope_not_carried, condition: path',
      'allow: create',
      'audit: scope_not_carried',
    ])
      assert.equal(said(request, expect), refused, expect);
    assert.equal(said(`${toDelivery}, ${create}`, 'allow: track'), 'allowed by rule create');
    assert.equal(said(`${toDelivery}, ${create}`, 'allow: create, left: []'), 'left: deliveries:create');
    const audit = changed(['delivery.yaml', 'mode: enforce', 'mode: audit']);
    assert.equal(
      said(request, 'deny: scope_not_carried', audit),
      'let through by audit mode, with scope_not_carried, nearest rule create, condition scopes',
    );
  });

  test('has a token with the claims that it says, and the time that it says', () => {
    const rule = (more: string) =>
      changed([
        'delivery.yaml',
        '      scopes: [deliveries:create]',
        `      scopes: [deliveries:create]\n      ${more}`,
      ]);
    const request = (token: string, more = '') =>
      `${toDelivery}, token: { scopes: [deliveries:create]${token} }${more}`;
    const claims = rule('claims: [{ pointer: /plan/name, equals: gold }, { claim: sub, exists: true }]');
    assert.equal(said(request(', claims: { plan: { name: gold } }'), 'allow: create', claims), '');
    assert.equal(
      said(request(', claims: { plan: { name: [gold] } }'), 'deny: claim_not_allowed, condition: claims', claims),
      '',
    );
    const actor = rule('actor: [bot]');
    assert.equal(said(request(', act: { sub: bot }'), 'allow: create', actor), '');
    assert.equal(said(request(', act: { sub: cat }'), 'deny: actor_not_allowed', actor), '');
    const ends = rule('until: 2027-01-01T12:00:00Z');
    assert.equal(said(request(''), 'allow: create', ends), '');
    assert.equal(said(request('', ', time: 2027-01-01T11:59:59.999Z'), 'allow: create', ends), '');
    assert.equal(said(request('', ', time: 2027-01-01T12:00:00Z'), 'deny: rule_expired', ends), '');
    const minted = rule('claims: [{ claim: client_id, equals: spiffe://cellmesh.localhost/router/eu/1 }]');
    assert.equal(said(request(', client_id: spiffe://cellmesh.localhost/router/eu/1'), 'allow: create', minted), '');
    assert.equal(said(request(''), 'deny: claim_not_allowed', minted), '');
  });

  test('is decided by the candidate where that is asked for', () => {
    const candidate = `---\napiVersion: cellmesh.io/v1alpha1\nkind: ServicePolicy\nmetadata: { name: delivery, namespace: messaging }\nspec:\n  serviceAccount: delivery\n  mode: enforce\n  ports: [{ port: 14280, protocol: http }]\n  rollout: { percent: 10, newlyDeniedMax: 1% }\n  allow: [{ name: new, from: [messaging/messaging] }]\n`;
    const texts = new Map([...manifests, ['candidate.yaml', candidate]]);
    const request = `${toDelivery}, ${create}`;
    assert.equal(said(request, 'allow: create', CellAtHand.read(texts)), '');
    assert.equal(said(request, 'allow: new', CellAtHand.read(texts, 'candidate')), '');
  });
});

describe('hops', () => {
  const chain = (second: string) => `    - name: chain
      hops:
        - request: { ${toApi}, token: { scopes: [messages:read, deliveries:cancel] } }
          expect: { allow: read, left: [messages:read, deliveries:cancel] }
        - request: { to: messaging/messaging, method: GET, path: /messages/7 }
          expect: { ${second} }
        - request: { to: messaging/store, tcp: true }
          expect: { allow: keep }`;

  test('have what the one before has left, and end at the first that is not as expected', () => {
    assert.equal(run(document(chain('allow: read, left: [messages:read]')))[0]!.isPassed, true);
    const [result] = run(document(chain('allow: read, left: [messages:read, deliveries:cancel]')));
    assert.equal(result!.isPassed, false);
    assert.equal(result!.hops.length, 2);
    assert.deepEqual(result!.hops[1]!.differences, [
      { expected: 'left: deliveries:cancel messages:read', actual: 'left: messages:read' },
    ]);
    assert.match(failureLines(policies, result!).join('\n'), /in hop 2, messaging\/api -> messaging\/messaging:/);
  });
});

describe('a report', () => {
  test('shows of a case that fails every rule, every condition, and what would have to change', () => {
    const results = run(
      single(
        `from: messaging/messaging, to: messaging/delivery, method: PUT, path: /deliveries/7, ${create}`,
        'allow: status',
      ),
    );
    const text = reportLines(policies, results, coverageOf(policies, results)).join('\n');
    for (const line of [
      '  ✖ one',
      '      a.test.yaml:6',
      '      expected  allowed by rule status',
      '      actual    refused with route_not_allowed, by the callee, nearest rule status, condition method',
      "      DENIED with 403 route_not_allowed, on the callee's side.",
      '      Rules of messaging/delivery, nearest first (4):',
      '        ✖ status  path, peer, declared hold',
      '                  method fails',
      '                    expected  GET',
      '                    actual    PUT',
      '                  scopes fails',
      "        - grant deliveries:read to the customer's key",
      '1 case: 0 passed, 1 failed. Rules that allow something in them: 0 of 15 (0 %).',
      '  not reached: messaging/carrier send',
    ])
      assert.ok(text.split('\n').includes(line), `${line}\n${text}`);
  });
});

describe('documents that are wrong', () => {
  test('are told with their places, all at once', () => {
    const text = `${document(`    - { name: a, request: { ${toApi}, acount: x }, expect: { allow: read, deny: scope_missing } }
    - { name: a, request: { from: api, to: messaging/api, method: GET }, expect: { deny: scope_mising } }
    - { name: b, request: { from: messaging/messaging, to: messaging/store, tcp: true, token: { scopes: [] } }, expect: { allow: keep } }
    - { name: c, expect: { allow: read } }
    - { name: d, request: { ${toApi}, token: { scopes: [], left: [] } }, expect: { allow: read, by: callee } }
    - { name: e, request: { ${toApi}, token: { scopes: [], claims: { scope: x } } }, expect: { deny: scope_missing, left: [] } }
    - { name: a, request: { ${toApi}, grpc: a.B/C }, expect: { allow: read } }`)}`;
    const problems = problemsOf(() => run(text));
    assert.match(
      problems[3]!,
      /^a\.test\.yaml:7:90: route_unknown or .* is expected, not "scope_mising"; did you mean `scope_missing`\?$/,
    );
    assert.deepEqual(problems.toSpliced(3, 1), [
      'a.test.yaml:6:97: unknown key `acount`',
      'a.test.yaml:6:118: one of `allow`, `deny` and `audit` is expected',
      'a.test.yaml:7:35: "api" is not namespace/service-account, a SPIFFE ID, `router` or `unmeshed`',
      'a.test.yaml:8:27: a connection brings no customer along',
      'a.test.yaml:9:7: a case has `request` and `expect`, or `hops`',
      'a.test.yaml:10:27: from a router all of the token is left',
      'a.test.yaml:10:140: `by`, `rule` and `condition` are of requests that rules refuse',
      'a.test.yaml:11:104: `claims` cannot say `scope`: the cell says it, or a field of its own',
      'a.test.yaml:11:152: nothing is left of a request that is refused',
      'a.test.yaml:12:27: a request has `method` and `path`, or `grpc`, or `tcp: true`',
    ]);
  });

  test('are told when they name what the manifests do not know', () => {
    const text = document(`    - { name: a, request: { ${toApi} }, expect: { allow: reed } }
    - { name: b, request: { from: router, to: messaging/apu, method: GET, path: / }, expect: { deny: token_missing } }
    - { name: c, request: { ${toApi}, token: { scopes: [messages:rea] } }, expect: { deny: scope_missing, rule: nothing } }
    - { name: d, request: { ${toApi}, port: 1 }, expect: { allow: read } }
    - { name: e, request: { from: spiffe://other.example/ns/a/sa/b, to: messaging/api, method: GET, path: / }, expect: { allow: read } }
    - { name: f, request: { ${toApi}, token: { scopes: [], client_id: spiffe://cellmesh.localhost/identity/x } }, expect: { allow: read } }
    - { name: a, request: { ${toApi}, token: { scopes: [messages:read] } }, expect: { allow: read, left: [a:b] } }`);
    assert.deepEqual(
      problemsOf(() => run(text)),
      ['a.test.yaml:12:7: a second case has the name "a"'],
    );
    assert.deepEqual(
      problemsOf(() => run(text.replace('name: a,', 'name: z,'))),
      [
        'a.test.yaml:6:107: messaging/api has no rule reed; did you mean `read`?',
        'a.test.yaml:7:27: no manifest declares messaging/apu; did you mean `messaging/api`?',
        'a.test.yaml:8:142: messaging/api has no rule nothing',
        'a.test.yaml:8:27: scope messages:rea is not in the catalogue; did you mean `messages:read`?',
        'a.test.yaml:9:27: port 1 is not one of `ports` of messaging/api',
        'a.test.yaml:10:27: no connection from spiffe://other.example/ns/a/sa/b is accepted: peers are of cell-1.cellmesh.localhost, or routers of cellmesh.localhost',
        'a.test.yaml:11:27: spiffe://cellmesh.localhost/identity/x is no router: only routers mint tokens',
        'a.test.yaml:12:143: scope a:b is not in the catalogue',
      ],
    );
  });

  test('have hops in one chain', () => {
    const hops = (first: string, second: string, deny = 'allow: read') =>
      document(`    - name: a
      hops:
        - request: { ${first} }
          expect: { ${deny} }
        - request: { ${second} }
          expect: { allow: read }`);
    const next = 'to: messaging/messaging, method: GET, path: /messages/7';
    const cases: readonly [string, string][] = [
      [hops(next, next), 'the first of `hops` says `from` whom it comes'],
      [hops(toApi, toApi), '`from`, `token` and `time` are those of the hop before; only the first of `hops` has them'],
      [hops(toApi, next, 'deny: token_missing'), 'nothing follows a hop that is refused'],
    ];
    for (const [text, problem] of cases)
      assert.deepEqual(
        problemsOf(() => run(text)),
        [`a.test.yaml:6:7: ${problem}`],
      );
  });
});
