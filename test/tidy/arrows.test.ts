import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isGenerated, type SourceFile, sourceFiles } from './source-files.ts';

const foundation = ['runtime', 'certs', 'net', 'tokens', 'policy', 'api', 'feeds', 'wire', 'traffic'];

/** Which rooms a room may look into; the pictures of docs/architecture.md show the same. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  runtime: [],
  certs: ['runtime'],
  net: ['runtime', 'certs'],
  tokens: ['runtime', 'certs'],
  policy: ['runtime', 'certs', 'tokens'],
  api: ['runtime', 'certs', 'net'],
  feeds: ['runtime', 'api', 'tokens'],
  wire: ['runtime', 'certs', 'net'],
  traffic: ['runtime'],
  kubernetes: ['runtime', 'certs', 'api', 'traffic'],
  sidecar: foundation,
  router: foundation,
  'control-plane': [...foundation.filter((room) => room !== 'wire'), 'kubernetes'],
  identity: [...foundation.filter((room) => room !== 'wire'), 'kubernetes'],
  cli: [...foundation, 'kubernetes', 'sidecar', 'router', 'control-plane', 'identity'],
};
const deployables = ['sidecar', 'router', 'control-plane', 'identity'];

/** A library lives behind one file or room: replacing it is work in one place. */
const homes: Readonly<Record<string, RegExp>> = {
  'node-forge': /^src\/certs\/der\.ts$/,
  jose: /^src\/(tokens|cli)\//,
  '@grpc/grpc-js': /^src\/api\//,
  '@bufbuild/protobuf': /^src\/(api\/|feeds\/feed-client\.ts$)/,
  'prom-client': /^src\/runtime\/metrics\.ts$/,
  koffi: /^src\/runtime\/libc\.ts$/,
  yaml: /^src\/runtime\/yaml-(document|stream)\.ts$/,
  undici: /^src\/(cli\/|feeds\/otlp-collector\.ts$|kubernetes\/client\.ts$)/,
  commander: /^src\/cli\//,
};

/** The data path has an engine of its own; Node's serves what lies beside it, and calls with a socket that is open already. */
const nodeHttp = /^src\/(runtime\/local-server|control-plane\/webhook\/webhook-server|cli\/call)\.ts$/;

const files = sourceFiles('src');
const byPath = new Map(files.map((file) => [file.path, file]));

function roomOf(path: string): string {
  return path.split('/')[1]!;
}

describe('the rooms of src/', () => {
  test('are those of the design', () => {
    assert.deepEqual(new Set(files.map(({ path }) => roomOf(path))), new Set(Object.keys(arrows)));
  });

  test('look only where they may', () => {
    const wrong = files.flatMap(({ path, imports }) =>
      imports
        .filter(({ file }) => file !== undefined && roomOf(file) !== roomOf(path))
        .filter(({ file }) => !arrows[roomOf(path)]!.includes(roomOf(file!)))
        .map(({ file }) => `${path} must not look at ${file}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('name each other by their room, and themselves by a relative path', () => {
    const wrong = files.flatMap(({ path, imports }) =>
      imports
        .filter(({ file }) => file !== undefined)
        .filter(({ specifier, file }) => specifier.startsWith('#') !== (roomOf(file!) !== roomOf(path)))
        .map(({ specifier }) => `${path}: ${specifier}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('import files that exist', () => {
    const missing = files.flatMap(({ path, imports }) =>
      imports.filter(({ file }) => file !== undefined && !byPath.has(file)).map(({ file }) => `${path}: ${file}`),
    );
    assert.deepEqual(missing, []);
  });

  test('have no circles of files; types may look back at whoever is made of them', () => {
    const circles = files.flatMap(({ path }) => {
      const circle = pathBetween(path, path);
      return circle === undefined ? [] : [circle.join(' -> ')];
    });
    assert.deepEqual(circles, []);
  });
});

describe('a process', () => {
  test('loads the code of its own role when it starts, and no other role’s', () => {
    const loaded = closure('src/cli/main.ts').filter((path) => deployables.includes(roomOf(path)));
    const settings = /\/(settings|sidecar-config|loopback)\.ts$/;
    assert.deepEqual(
      loaded.filter((path) => !settings.test(path)),
      [],
    );
  });

  test('of a sidecar touches gRPC through one file of its room', () => {
    const users = files
      .filter(({ path }) => roomOf(path) === 'sidecar')
      .filter(({ imports }) => imports.some(({ file }) => file === 'src/api/api-client.ts'))
      .map(({ path }) => path);
    assert.equal(users.length, 1, users.join(', '));
  });
});

test('a library lives behind one file or room, and every library in use is listed', () => {
  const wrong = files
    .filter((file) => !isGenerated(file))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ file, specifier }) => file === undefined && !specifier.startsWith('node:'))
        .map(({ specifier }) => /^(@[^/]+\/)?[^/]+/.exec(specifier)![0])
        .filter((library) => !homes[library]?.test(path))
        .map((library) => `${path}: ${library}`),
    );
  assert.deepEqual(wrong, []);
});

test("Node's own HTTP stays off the data path", () => {
  const wrong = files
    .filter(({ path }) => !nodeHttp.test(path))
    .filter(({ imports }) => imports.some(({ specifier }) => /^node:(http|https|http2)$/.test(specifier)))
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

/** Everything that is loaded with `path`, before anything is called. */
function closure(path: string, seen = new Set<string>()): string[] {
  for (const next of loadedBy(byPath.get(path)!)) {
    if (seen.has(next)) continue;
    seen.add(next);
    closure(next, seen);
  }
  return [...seen];
}

function loadedBy({ imports }: SourceFile): string[] {
  return imports.flatMap(({ file, isTypeOnly, isDynamic }) =>
    file === undefined || isTypeOnly || isDynamic ? [] : [file],
  );
}

/** The shortest way of imports from one file to another. */
function pathBetween(from: string, to: string): string[] | undefined {
  const seen = new Set<string>();
  let ways = [[from]];
  while (ways.length > 0) {
    const longer: string[][] = [];
    for (const way of ways) {
      for (const next of loadedBy(byPath.get(way.at(-1)!)!)) {
        if (next === to) return [...way, next];
        if (seen.has(next)) continue;
        seen.add(next);
        longer.push([...way, next]);
      }
    }
    ways = longer;
  }
  return undefined;
}
