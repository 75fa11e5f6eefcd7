import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileCell } from '#policy/compile.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';

const cellText = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.cellmesh.localhost
  domain: cellmesh.localhost
  tokenIssuer: https://identity.cellmesh.localhost
  scopes: { a:read: Read a., a:write: Write a. }
`;

function manifest(spec: string, name = 'one'): string {
  return `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 8080, protocol: http }]
${spec}`;
}

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'));
    return error.problems;
  }
  return [];
}

const read = (text: string) => readDocuments(text, 'one.yaml');

test('a manifest gets the hosts of its name, and every field of the standard', () => {
  const [policy] = read(
    manifest(`  expose: [{ hosts: [api.example.com], paths: ["/v1/**"], auth: required }]
  allow:
    - { name: r, from: [shop/two, router, any, "spiffe://cell-1.cellmesh.localhost/x"], port: 8080, http: { methods: [GET], paths: ["/a/*"] }, scopes: [a:read], account: none, sensitive: true }
  calls:
    - { to: shop/two, listen: "127.0.0.1:9101", carry: [], own: [a:write], token: none }
`),
  ).policies;
  assert.deepEqual(
    policy?.hosts.map(({ value }) => value),
    ['one.shop', 'one.shop.svc', 'one.shop.svc.cluster.local'],
  );
  assert.equal(policy?.bareHost, 'one');
  assert.equal(policy?.allow[0]?.value.from.length, 4);
  assert.deepEqual(policy?.calls[0]?.value.listen, { host: '127.0.0.1', port: 9101 });
  assert.deepEqual(policy?.calls[0]?.value.carry, []);
});

test('labels and annotations are read past: they are for the Kubernetes object', () => {
  const plain = manifest('');
  const labelled = plain.replace(' }\nspec', ', labels: { a.example/b: "", c: d }, annotations: { e: "f: g" } }\nspec');
  assert.deepEqual(read(labelled), read(plain));
  const wrong = problemsOf(() => read(plain.replace(' }\nspec', ', labels: { a: 1 }, annotation: {} }\nspec')));
  assert.deepEqual(wrong, [
    'one.yaml:3:59: unknown key `annotation`; did you mean `annotations`?',
    'one.yaml:3:54: text is expected',
  ]);
});

test('every problem is named at once, by line and column', () => {
  const problems = problemsOf(() =>
    read(
      manifest(`  mod: audit
  allow:
    - name: r
      from: []
      http: { methods: [get] }
      scopes: [read]
    - { name: s, from: [nobody], port: 1 }
`),
    ),
  );
  assert.deepEqual(problems, [
    'one.yaml:8:3: unknown key `mod`; did you mean `mode`?',
    'one.yaml:11:13: the list needs at least 1 item',
    'one.yaml:12:25: "get" is no method',
    'one.yaml:13:16: "read" is no scope; write resource:action in lower case',
    'one.yaml:14:25: "nobody" is not namespace/service-account, a SPIFFE ID, `router`, `any` or `unmeshed`',
  ]);
});

test('a port of opaque connections has neither methods nor paths, and no router reaches it', () => {
  const spec = `  ports: [{ port: 1, protocol: tcp }]
  expose: [{ hosts: [a], paths: [/x], auth: none }]
  allow: [{ name: one, from: [any], port: 1, http: { paths: [/x] } }, { name: two, from: [any], port: 1 }]
`;
  const text = manifest(spec).replace(/ {2}ports: \[\{ port: 8080.*\n/, '');
  assert.deepEqual(
    problemsOf(() => read(text)).map((problem) => problem.replace(/^.*?: /, '')),
    [
      'port 1 is tcp: it has neither methods nor paths',
      '`expose` sends to the first of `ports`, which is tcp: routers speak HTTP',
    ],
  );
});

test('what is not there yet says so', () => {
  const specs = {
    'receive: token': '  receive: token\n',
    'token: exchange': '  calls: [{ to: shop/two, token: exchange }]\n',
    external: '  calls: [{ to: "https://example.com" }]\n',
  };
  for (const [name, spec] of Object.entries(specs))
    assert.match(problemsOf(() => read(manifest(spec))).join(), /not yet supported/, name);
});

test('YAML that says a thing twice, refers to itself or hides its type is refused', () => {
  for (const text of [
    'a: 1\na: 2',
    'a: &x [1]\nb: *x',
    '? [a]\n: 1',
    'a: !!binary aGk=',
    'a: b: c',

    `a: ${'['.repeat(40)}${']'.repeat(40)}`,
  ]) {
    assert.notDeepEqual(
      problemsOf(() => read(text)),
      [],
      text,
    );
  }
});

test('contradictions between manifests are found when the cell is compiled', () => {
  const compile = (...texts: string[]) => {
    const all = [cellText, ...texts].map((text, index) => readDocuments(text, `${index}.yaml`));
    return problemsOf(() =>
      compileCell(
        all.flatMap(({ cells }) => cells)[0]!,
        all.flatMap(({ policies }) => policies),
      ),
    ).join('\n');
  };
  assert.equal(compile(manifest(''), manifest('', 'two')), '');
  assert.match(compile(manifest(''), manifest('')), /2\.yaml:1:1: a second manifest for shop\/one/);
  assert.match(compile(manifest(''), manifest('  hosts: [one]\n', 'two')), /host one belongs to shop\/one already/);
  assert.match(compile(manifest('  calls: [{ to: shop/gone }]\n')), /no manifest declares shop\/gone/);
  assert.match(
    compile(manifest('  allow: [{ name: r, from: [any], scopes: [b:read] }]\n')),
    /scope b:read is not in the catalogue/,
  );
  assert.match(
    compile(manifest('  allow: [{ name: r, from: ["spiffe://cell-2.cellmesh.localhost/x"] }]\n')),
    /a cell trusts no other cell/,
  );
});

test('the version of a cell follows its content, not its files', () => {
  const version = (file: string, ...texts: string[]) => {
    const all = [cellText, ...texts].map((text) => readDocuments(text, file));
    return compileCell(
      all.flatMap(({ cells }) => cells)[0]!,
      all.flatMap(({ policies }) => policies),
    ).version;
  };
  const [one, two] = [manifest(''), manifest('', 'two')];
  assert.equal(version('a', one, two), version('b', two, one));
  assert.notEqual(version('a', one, two), version('a', one, two.replace('enforce', 'audit')));
});

test('whatever the text, reading ends with documents or a typed error', () => {
  const lines = manifest('  allow:\n    - { name: r, from: [any] }\n').split('\n');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...lines), fc.string({ maxLength: 12 })), { maxLength: 20 }),
      (pieces) => {
        try {
          read(pieces.join('\n'));
        } catch (error) {
          assert.ok(error instanceof CellmeshError, String(error));
        }
      },
    ),
  );
});
