import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { licensesOf, root } from '../bundle.ts';
import { type Entry, type FileTree, file } from './file-tree.ts';

const services = 'examples/messaging/services';
/** Each is a program of its own. */
const programs = ['api', 'messaging', 'delivery', 'carrier', 'store'];

/** The services of the example, with the libraries that they need: `node /opt/example/api.js`. */
export async function exampleFiles(): Promise<FileTree> {
  const known = new Set(readdirSync(join(root, services)));
  const input = Object.fromEntries(programs.map((name) => [name, join(root, services, `${name}.js`)]));
  const missing = programs.filter((name) => !known.has(`${name}.js`));
  if (missing.length > 0) throw new Error(`${services} has no ${missing.join(', ')}`);
  const build = await rolldown({ cwd: root, input, external: [/^node:/, '@grpc/proto-loader'], platform: 'node' });
  const { output } = await build.generate({ format: 'esm', entryFileNames: '[name].js', comments: false });
  const files = output.map((one): [string, Entry] => [
    `opt/example/${one.fileName}`,
    file(one.type === 'chunk' ? one.code : one.source),
  ]);
  const licenses = await licensesOf(output.filter((one) => one.type === 'chunk'));
  return new Map([
    ...files,
    ['opt/example/LICENSES.txt', file(licenses)],
    ['opt/example/package.json', file('{"type":"module"}\n')],
  ]);
}
