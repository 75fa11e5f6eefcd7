import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { CellmeshError } from '#runtime/errors.ts';
import { type Interception, iptables, nftables, type RuleCommand } from './rules.ts';

export const backends = ['nftables', 'iptables'] as const;
export type Backend = (typeof backends)[number];

const families = [4, 6] as const;

/** The one whose program is there, nftables first. @throws CellmeshError `intercept_failed` when there is none */
export async function findBackend(): Promise<Backend> {
  if (await answers('nft')) return 'nftables';
  if (await answers('iptables')) return 'iptables';
  throw new CellmeshError('intercept_failed', 'there is neither `nft` nor `iptables` on this machine: install one');
}

/** Replaces whatever an earlier call installed. @throws CellmeshError `intercept_failed`; then nothing is left half-way */
export async function install(backend: Backend, interception: Interception): Promise<void> {
  if (backend === 'nftables') return run(nftables.install(interception));
  try {
    for (const family of families) {
      await run(iptables.fill(family, interception));
      const [asked, added] = [iptables.jumps(family, '-C'), iptables.jumps(family, '-A')];
      for (const [index, jump] of added.entries()) if (!(await succeeds(asked[index]!))) await run(jump);
    }
  } catch (error) {
    await remove(backend);
    throw error;
  }
}

/** Without effect where nothing is installed. @throws CellmeshError `intercept_failed` */
export async function remove(backend: Backend): Promise<void> {
  if (backend === 'nftables') return run(nftables.remove());
  for (const family of families) {
    const asked = iptables.jumps(family, '-C');
    for (const [index, jump] of iptables.jumps(family, '-D').entries()) {
      while (await succeeds(asked[index]!)) await run(jump);
    }
    for (const command of iptables.drop(family)) await succeeds(command);
  }
}

async function answers(program: string): Promise<boolean> {
  return succeeds({ program, args: ['--version'], input: '' });
}

async function succeeds(command: RuleCommand): Promise<boolean> {
  return (await result(command)).code === 0;
}

async function run(command: RuleCommand): Promise<void> {
  const { code, said } = await result(command);
  if (code === 0) return;
  const hint = /not permitted|Permission denied|you must be root/i.test(said)
    ? ' (it needs CAP_NET_ADMIN: run it as root, in an init container with that capability)'
    : '';
  throw new CellmeshError('intercept_failed', `${command.program} ended with ${code}: ${said.trim()}${hint}`);
}

async function result({ program, args, input }: RuleCommand): Promise<{ code: number; said: string }> {
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.on('error', () => {}).end(input);
  try {
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
    return { code: code ?? 1, said };
  } catch {
    return { code: 127, said: `${program} is not there` };
  }
}
