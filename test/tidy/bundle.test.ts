import assert from 'node:assert/strict';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { bundle, root } from '../../build/bundle.ts';

const { output } = await bundle();
const chunks = new Map(output.filter((file) => file.type === 'chunk').map((chunk) => [chunk.fileName, chunk]));

/** Files that are loaded with those of `entryPoints`, before anything is called. */
function filesLoadedWith(...entryPoints: readonly string[]): string[] {
  const files = new Set(entryPoints.map(fileOf));
  for (const file of files) for (const path of chunks.get(file)!.imports) if (chunks.has(path)) files.add(path);
  return [...files];
}

/** The sources in them. */
function sourcesLoadedWith(...entryPoints: readonly string[]): string[] {
  return filesLoadedWith(...entryPoints).flatMap((file) =>
    Object.entries(chunks.get(file)!.modules)
      .filter(([, { renderedLength }]) => renderedLength > 0)
      .map(([path]) => relative(root, path)),
  );
}

function fileOf(source: string): string {
  const found = [...chunks.values()].find(({ facadeModuleId }) => facadeModuleId === join(root, source));
  assert.ok(found !== undefined, `${source} has no file of its own`);
  return found.fileName;
}

const settings = /\/(settings|sidecar-config|loopback)\.ts$/;
const loaded = {
  sidecar: sourcesLoadedWith('src/cli/main.ts', 'src/cli/roles.ts', 'src/sidecar/start-sidecar.ts'),
  'control-plane': sourcesLoadedWith('src/cli/main.ts', 'src/cli/roles.ts', 'src/control-plane/start-control-plane.ts'),
  identity: sourcesLoadedWith('src/cli/main.ts', 'src/cli/roles.ts', 'src/identity/start-identity.ts'),
  router: sourcesLoadedWith('src/cli/main.ts', 'src/cli/roles.ts', 'src/router/start-router.ts'),
};

describe('what is built', () => {
  for (const [role, sources] of Object.entries(loaded)) {
    test(`lets a process of ${role} load its own role, and no other’s`, () => {
      const rooms = Object.keys(loaded).filter((room) => room !== role);
      const others = sources.filter((source) => rooms.some((room) => source.startsWith(`src/${room}/`)));
      assert.deepEqual(
        others.filter((source) => !settings.test(source)),
        [],
      );
      assert.ok(sources.some((source) => source.startsWith(`src/${role}/start-`)));
    });
  }

  test('imports nothing that loads more of Node than is used', () => {
    // Whoever imports node:http loads its WebSocket, and with that fetch (runtime/local-server.ts).
    const importers = [...chunks.values()].filter(({ imports }) => imports.includes('node:http'));
    assert.deepEqual(
      importers.map(({ fileName }) => fileName),
      [fileOf('src/cli/call.ts')],
    );
  });

  test('lets a sidecar load few files, of one byte a character each', () => {
    const files = filesLoadedWith('src/cli/main.ts', 'src/cli/roles.ts', 'src/sidecar/start-sidecar.ts');
    assert.ok(files.length <= 15, files.join(', '));
    // V8 keeps the text, with two bytes a character where one of them is not in Latin-1.
    for (const file of files) assert.match(chunks.get(file)!.code, /^[\0-\xff]*$/, file);
  });

  test('lets a thread of a sidecar load no other role, and neither the command nor gRPC', () => {
    const sources = sourcesLoadedWith('src/sidecar/worker-thread.ts');
    const others = /^src\/(cli|control-plane|identity|router)\/|^node_modules\/(@grpc|commander)\//;
    assert.deepEqual(
      sources.filter((source) => others.test(source)),
      [],
    );
  });

  test('answers a command without the code of a sidecar', () => {
    const sources = sourcesLoadedWith('src/cli/main.ts', 'src/cli/join-token.ts');
    assert.deepEqual(
      sources.filter((source) => source.startsWith('src/sidecar/') && !settings.test(source)),
      [],
    );
  });
});
