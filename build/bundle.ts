import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type ChunkingContext, type OutputChunk, type Plugin, type RolldownOutput, rolldown } from 'rolldown';

export const root = resolve(import.meta.dirname, '..');
const source = (path: string): string => join(root, 'src', path);

/** Files that something else than an import starts: the launcher, and threads by their URL. */
const entryPoints = { main: source('cli/main.ts'), 'worker-thread': source('sidecar/worker-thread.ts') };

/** koffi has machine code beside it. The other is asked for by services of gRPC that nobody here offers. */
const external = [/^node:/, 'koffi', '@grpc/proto-loader'];

/**
 * What the same of these load goes into one file: a file costs its reader a millisecond, and a bundler by itself makes forty of what all verbs
 * share. A sidecar reads fourteen.
 */
const loaders = {
  command: source('cli/main.ts'),
  roles: source('cli/roles.ts'),
  thread: source('sidecar/worker-thread.ts'),
  sidecar: source('sidecar/start-sidecar.ts'),
};

/** As `npm run build` builds it, in memory: the command, and a file for each part that is loaded later. */
export async function bundle(): Promise<RolldownOutput> {
  const build = await rolldown({
    cwd: root,
    input: entryPoints,
    external,
    platform: 'node',
    preserveEntrySignatures: 'allow-extension',
    plugins: [threadFiles()],
  });
  return await build.generate({
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
    codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: fileOf, debugName: 'loaders' }] },
    // A single character beyond Latin-1 doubles the memory of a file.
    charset: 'ascii',
    comments: false,
    // Not minified: a stack trace names functions as they are. For its lines there is runtime/source-positions.ts.
    sourcemap: 'hidden',
    sourcemapExcludeSources: true,
  });
}

/** Replaces `dist/`, or what else is named. */
export async function writeBundle(directory = join(root, 'dist')): Promise<void> {
  const { output } = await bundle();
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  for (const file of output) {
    await writeFile(join(directory, file.fileName), file.type === 'chunk' ? file.code : file.source);
  }
  const chunks = output.filter((file) => file.type === 'chunk');
  await writeFile(join(directory, 'LICENSES.txt'), await licensesOf(chunks));
}

/** Undefined leaves it to the bundler: code of a sidecar's own must not come to others with what they share. */
function fileOf(module: string, context: ChunkingContext): string | undefined {
  const names = Object.entries(loaders)
    .filter(([, loader]) => loadedWith(loader, context).has(module))
    .map(([name]) => name);
  const isOwn = module.startsWith(source('sidecar/')) && !names.includes('roles');
  const isLoader = Object.values(loaders).includes(module);
  return names.length === 0 || isOwn || isLoader ? undefined : names.join('-');
}

/** Everything that is loaded with `module`, before anything is called. */
function loadedWith(module: string, context: ChunkingContext): ReadonlySet<string> {
  const loaded = new Set([module]);
  for (const one of loaded) {
    for (const next of context.getModuleInfo(one)?.importedIds ?? []) loaded.add(next);
  }
  return loaded;
}

/** `new Worker(new URL('./name.ts', import.meta.url))`, which bundlers leave alone: all files that are written lie in one directory. */
function threadFiles(): Plugin {
  const threadFile = /\bnew URL\('\.\/([^']+)\.ts', import\.meta\.url\)/g;
  return {
    name: 'thread files',
    transform: {
      filter: { id: /\/src\/.*\.ts$/, code: threadFile },
      handler(text, path) {
        const code = text.replace(threadFile, (_, name: string) => {
          if (!(name in entryPoints)) throw new Error(`${path} starts ${name}.ts, which is no entry point`);
          return `new URL('./${name}.js', import.meta.url)`;
        });
        // As long as it was: places stay the same.
        return { code, map: null };
      },
    },
  };
}

/** The licenses of all libraries that went in, as each of them asks. */
export async function licensesOf(chunks: readonly OutputChunk[]): Promise<string> {
  const packages = chunks.flatMap(({ moduleIds }) =>
    moduleIds.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]).filter((path) => path !== undefined),
  );
  const texts = await Promise.all(
    [...new Set(packages)].sort().map(async (path) => {
      const { name, version, license } = JSON.parse(await readFile(join(path, 'package.json'), 'utf8'));
      const files = (await readdir(path)).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
      const contents = await Promise.all(files.map((file) => readFile(join(path, file), 'utf8')));
      return [`${name} ${version} (${license})`, ...contents].join('\n\n');
    }),
  );
  return texts.join(`\n\n${'-'.repeat(80)}\n\n`);
}
