import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { buffer } from 'node:stream/consumers';

/** A cluster, and the image that it can run. */
export interface Cluster {
  /** `image:tag` of cellmesh, as pods name it. */
  readonly image: string;
  /** The path of the file by which it is reached. */
  readonly kubeconfig: string;
  /** What `kubectl` prints. @throws Error with what it says when it fails */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** What it prints on both, whether it fails or not: for logs, and for commands that are to fail. */
  kubectlSaid(args: readonly string[]): Promise<string>;
}

/**
 * The cluster of `KUBECONFIG`, as its administrator. `E2E_IMAGE` is in it already, or comes into it by `E2E_LOAD`, a command that is given the path of
 * each image archive of `E2E_ARCHIVE`.
 * @returns why there is none, where there is none
 * @throws when it is named and cannot be used, and where `REQUIRE_PARTS=1` and there is none
 */
export async function findCluster(environment: NodeJS.ProcessEnv): Promise<Cluster | { readonly skip: string }> {
  const { KUBECONFIG, E2E_IMAGE, E2E_LOAD, E2E_ARCHIVE, PATH = '', KUBEBUILDER_ASSETS = '' } = environment;
  const kubectl = [...PATH.split(delimiter), KUBEBUILDER_ASSETS]
    .map((place) => join(place, 'kubectl'))
    .find(existsSync);
  const missing = [
    ...(KUBECONFIG === undefined ? ['KUBECONFIG, of a cluster that may be changed'] : []),
    ...(E2E_IMAGE === undefined ? ['E2E_IMAGE, the image as pods name it'] : []),
    ...(kubectl === undefined ? ['kubectl in PATH'] : []),
    ...(E2E_LOAD !== undefined && E2E_ARCHIVE === undefined ? ['E2E_ARCHIVE, what E2E_LOAD is to load'] : []),
  ];
  if (missing.length > 0) {
    const skip = `there is no cluster to try this in; missing: ${missing.join('; ')}`;
    if (environment['REQUIRE_PARTS'] === '1') throw new Error(skip);
    return { skip };
  }
  // For commands of cellmesh that run it.
  process.env['KUBECTL'] = kubectl!;
  if (E2E_LOAD !== undefined)
    for (const archive of E2E_ARCHIVE!.split(',')) await run('sh', ['-c', `${E2E_LOAD} "$0"`, archive]);
  return {
    image: E2E_IMAGE!,
    kubeconfig: KUBECONFIG!,
    kubectl: (args, input) => run(kubectl!, args, input),
    kubectlSaid: (args) => said(kubectl!, args),
  };
}

/** Ends with what the program printed. @throws Error with what it said when it fails */
export async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const { code, out, error } = await outcomeOf(program, args, input);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${code}: ${error}${out}`);
  return out;
}

/** Ends with what it printed on both, whether it fails or not. */
export async function said(program: string, args: readonly string[]): Promise<string> {
  const { out, error } = await outcomeOf(program, args);
  return `${error}${out}`;
}

async function outcomeOf(program: string, args: readonly string[], input = '') {
  const child = spawn(program, args, { stdio: 'pipe' });
  child.stdin.on('error', () => {}).end(input);
  const [out, error, [code]] = await Promise.all([buffer(child.stdout), buffer(child.stderr), once(child, 'close')]);
  return { code: code as number | null, out: out.toString(), error: error.toString() };
}
