import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { describeBundle } from '../../build/bundle.ts';

const { outputs } = await describeBundle();

/** Sources in the files that are loaded with that of `entryPoint`, before anything is called. */
function sourcesLoadedWith(...entryPoints: readonly string[]): string[] {
  const files = new Set(entryPoints.map((source) => fileOf(source)));
  for (const file of files) {
    for (const { path, kind } of outputs[file]!.imports) {
      if (kind === 'import-statement' && path in outputs) files.add(path);
    }
  }
  return [...files].flatMap((file) =>
    Object.entries(outputs[file]!.inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([source]) => source),
  );
}

function fileOf(source: string): string {
  const found = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === source);
  assert.ok(found !== undefined, `${source} has no file of its own`);
  return found[0];
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
    const importers = Object.values(outputs).filter(({ imports }) =>
      imports.some(({ path, kind }) => path === 'node:http' && kind === 'import-statement'),
    );
    assert.deepEqual(
      importers.map(({ entryPoint }) => entryPoint),
      ['src/cli/call.ts'],
    );
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
