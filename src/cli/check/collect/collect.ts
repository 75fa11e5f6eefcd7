import type { Clock } from '#runtime/clock.ts';
import { readOpenFiles } from '#runtime/open-files.ts';
import { version } from '#runtime/version.ts';
import { readInstallation } from '../../installation.ts';
import type { AuthorityOptions } from '../../operator.ts';
import { readManifestDir } from '../../policy/manifest-files.ts';
import { type Facts, factOf } from '../facts.ts';
import { certificatesOnMachine } from './certificates.ts';
import { askControlPlane } from './control-plane.ts';
import { machineFacts } from './machine.ts';
import { policyFactsOf } from './policy.ts';

interface CollectOptions extends AuthorityOptions {
  readonly kubeconfig?: string;
  readonly namespace: string;
}

interface Bounds {
  readonly failBeforeMs: number;
  /** For everything together. */
  readonly timeoutMs: number;
}

/**
 * Looks once, at everything, side by side. What cannot be found out is a fact that says why.
 * @throws CellmeshError `installation_missing`, `state_version`: there is nothing to look at
 */
export async function collectFacts(
  options: CollectOptions,
  { failBeforeMs, timeoutMs }: Bounds,
  clock: Clock,
): Promise<Facts> {
  const signal = AbortSignal.timeout(timeoutMs);
  const nowMs = clock.now();
  const program = { version, nodeVersion: process.versions.node, openFiles: await readOpenFiles() };
  const installation = await readInstallation(options.state);
  const [asked, certificates, policy, machine] = await Promise.all([
    askControlPlane(options, clock, signal),
    certificatesOnMachine(installation, signal),
    factOf(async () => policyFactsOf(await readManifestDir(installation.policyDir), nowMs), signal),
    machineFacts(installation, signal),
  ]);
  return { nowMs, failBeforeMs, program, ...asked, certificates, policy, machine };
}
