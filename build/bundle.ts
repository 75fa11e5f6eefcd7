import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';

export const root = resolve(import.meta.dirname, '..');

/** Files that something else than an import starts: the launcher, and threads by their URL. */
const entryPoints = { main: 'src/cli/main.ts', 'worker-thread': 'src/sidecar/worker-thread.ts' };

/** Has a file of machine code beside it. */
const external = ['koffi'];

/** Libraries in CommonJS ask for Node's own modules by `require`, which ES modules do not have. */
const banner = {
  js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);",
};

/**
 * What is written to `dist/`: the command, and a file for each part that is loaded later. Not minified: a stack trace names functions and lines as
 * they are. Source maps lie beside, without the sources, for whoever prints one (`runtime/source-positions.ts`).
 */
const options = {
  absWorkingDir: root,
  entryPoints,
  external,
  banner,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node26',
  outdir: 'dist',
  entryNames: '[name]',
  chunkNames: '[name]-[hash]',
  sourcemap: 'external',
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
  plugins: [threadFiles()],
} satisfies BuildOptions;

/** Builds in memory. Which file holds which sources, and loads which others, is in the result; paths are from the root. */
export async function describeBundle(): Promise<Metafile> {
  return (await build({ ...options, write: false })).metafile;
}

/** Replaces `dist/`, as `npm run build` does. */
export async function writeBundle(): Promise<void> {
  const { metafile, outputFiles } = await build({ ...options, write: false });
  const directory = join(root, options.outdir);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  await Promise.all(outputFiles.map(({ path, contents }) => writeFile(path, contents)));
  await writeFile(join(directory, 'LICENSES.txt'), await licensesOf(metafile));
}

/** `new Worker(new URL('./name.ts', import.meta.url))`, which bundlers leave alone: all files that are written lie in one directory. */
function threadFiles(): Plugin {
  const threadFile = /\bnew URL\('\.\/([^']+)\.ts', import\.meta\.url\)/g;
  return {
    name: 'thread files',
    setup(builder) {
      builder.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        const contents = text.replace(threadFile, (_, name: string) => {
          if (!(name in entryPoints)) throw new Error(`${path} starts ${name}.ts, which is no entry point`);
          return `new URL('./${name}.js', import.meta.url)`;
        });
        return { contents, loader: 'ts' };
      });
    },
  };
}

/** The licenses of all libraries that went in, as each of them asks. */
async function licensesOf({ inputs }: Metafile): Promise<string> {
  const packages = Object.keys(inputs).map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  const directories = [...new Set(packages.filter((directory) => directory !== undefined))].sort();
  const texts = await Promise.all(
    directories.map(async (directory) => {
      const { name, version, license } = JSON.parse(await readFile(join(root, directory, 'package.json'), 'utf8'));
      const files = (await readdir(join(root, directory))).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
      const contents = await Promise.all(files.map((file) => readFile(join(root, directory, file), 'utf8')));
      return [`${name} ${version} (${license})`, ...contents].join('\n\n');
    }),
  );
  return texts.join(`\n\n${'-'.repeat(80)}\n\n`);
}
