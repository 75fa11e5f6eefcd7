import { execFile } from 'node:child_process';
import { CellmeshError } from '#runtime/errors.ts';

/** Which cluster, as `kubectl` is told; what is absent is as it is by itself. */
export interface KubectlOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

/** Long enough for whoever logs in by a browser first. */
const runMsMax = 120_000;
const outputBytesMax = 32 * 1024 * 1024;
const wordsCharactersMax = 1_000;

/** The user's own `kubectl`, which brings every way of logging in to a cluster along. `KUBECTL` names another program. */
export function kubectlProgram(environment: NodeJS.ProcessEnv = process.env): string {
  return environment['KUBECTL'] || 'kubectl';
}

export function kubectlArguments(
  { kubeconfig, context, namespace }: KubectlOptions,
  args: readonly string[],
): readonly string[] {
  return [
    // In a pod it finds its own way.
    ...(kubeconfig === undefined || kubeconfig === 'in-cluster' ? [] : [`--kubeconfig=${kubeconfig}`]),
    ...(context === undefined ? [] : [`--context=${context}`]),
    `--namespace=${namespace}`,
    ...args,
  ];
}

/** Runs it to its end, and returns what it printed. @throws CellmeshError `kubectl_failed` with its words */
export function runKubectl(options: KubectlOptions, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const limits = { timeout: runMsMax, maxBuffer: outputBytesMax, ...(signal !== undefined && { signal }) };
    const child = execFile(
      kubectlProgram(),
      kubectlArguments(options, args),
      { ...limits, encoding: 'utf8' },
      (error, stdout, stderr) => (error === null ? resolve(stdout) : reject(kubectlFailed(args, stderr, error))),
    );
    child.stdin?.end();
  });
}

/** @param args without those that say which cluster: what stands in a message */
export function kubectlFailed(args: readonly string[], stderr: string, cause?: unknown): CellmeshError {
  const isMissing = (cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
  if (isMissing) {
    const hint = 'install it, or name the program with KUBECTL';
    return new CellmeshError('kubectl_failed', `${kubectlProgram()} is not there; ${hint}`, { cause });
  }
  const words = stderr
    .trim()
    .replaceAll(/\s*\n\s*/g, '; ')
    .slice(-wordsCharactersMax);
  return new CellmeshError('kubectl_failed', `kubectl ${args.join(' ')}: ${words || 'it ended without a word'}`, {
    cause,
  });
}
