import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toPem } from '#certs/pem.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { chainPem, privateKeyPem } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { eventually } from '../../test/support/eventually.ts';
import { freePort } from '../../test/support/free-port.ts';
import { reachable } from '../../test/support/reachable.ts';
import { temporaryDirectory } from '../../test/support/temporary-directory.ts';
import { testAuthority } from '../../test/support/test-authority.ts';
import type { Candidate, Foreign } from '../candidate.ts';

/** What a configuration of a peer is written from. Paths of PEM files: certificate chain, key, both in one, and the root. */
export interface PairFacts {
  readonly directory: string;
  readonly backendPort: number;
  readonly inPort: number;
  readonly outPort: number;
  readonly callee: Identity;
  readonly caller: Identity;
  readonly root: string;
}

interface Identity {
  readonly id: string;
  readonly chain: string;
  readonly key: string;
  readonly both: string;
}

interface Peer {
  readonly name: string;
  /** Looked for in PATH, or where the environment variable `BENCH_<NAME>` says. */
  readonly program: string;
  /** Writes what both hops need and returns the arguments that start each. */
  readonly configure: (
    facts: PairFacts,
    /** 0, or the number of another one of its kind that runs beside it. */
    number: number,
  ) => Promise<{ readonly in: readonly string[]; readonly out: readonly string[] }>;
  readonly fields?: Readonly<Record<string, string>>;
  readonly fieldSets?: Candidate['fieldSets'];
  readonly isFor: (scenario: string) => boolean;
}

/** A pair of a foreign proxy with mutual TLS 1.3 between its hops. Undefined, and said so, where the program is not there. */
export async function startPeerPair(peer: Peer, backendPort: number): Promise<Candidate | undefined> {
  const program = process.env[`BENCH_${peer.name.toUpperCase()}`] ?? peer.program;
  if (!(await exists(program))) {
    process.stderr.write(`${peer.name} is not here (${program}): left out\n`);
    return undefined;
  }
  await using starting = new AsyncDisposableStack();
  const facts = await writeFacts(starting.use(await temporaryDirectory()).path, backendPort);
  const commands = await peer.configure(facts, 0);
  const start = async (args: readonly string[], port: number) => {
    const child = await run(program, args, port);
    starting.defer(() => stop(child));
    return child;
  };
  const inbound = await start(commands.in, facts.inPort);
  const outbound = await start(commands.out, facts.outPort);
  const owned = starting.move();
  return {
    name: peer.name,
    target: { port: facts.outPort, host: 'backend' },
    ...(peer.fields && { fields: peer.fields }),
    ...(peer.fieldSets && { fieldSets: peer.fieldSets }),
    isFor: peer.isFor,
    inboundPids: await withChildren(inbound.pid!),
    outboundPids: await withChildren(outbound.pid!),
    foreign: () => foreignOf(facts, peer.fields),
    timeStart: () => timeStart(program, peer, backendPort),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Resolves when it accepts connections. */
async function run(program: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(program, [...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  await eventually(() => reachable(port), 10_000, 1);
  return child;
}

async function foreignOf({ inPort, caller, root }: PairFacts, fields: Peer['fields'] = {}): Promise<Foreign> {
  const [certificate, key, rootPem] = await Promise.all(
    [caller.chain, caller.key, root].map((file) => readFile(file, 'utf8')),
  );
  return { port: inPort, host: 'backend', certificate: certificate!, key: key!, root: rootPem!, fields };
}

/** Everything that a peer needs lies ready in files. */
async function timeStart(program: string, peer: Peer, backendPort: number): Promise<{ readonly files: number }> {
  await using directory = await temporaryDirectory();
  const facts = await writeFacts(directory.path, backendPort);
  const commands = await peer.configure(facts, 1);
  const begun = performance.now();
  const child = await run(program, commands.in, facts.inPort);
  const took = performance.now() - begun;
  await stop(child);
  return { files: took };
}

async function writeFacts(directory: string, backendPort: number): Promise<PairFacts> {
  const trustDomain = parseTrustDomain('cell-1.example.com');
  const authority = await testAuthority(systemClock, trustDomain);
  const root = join(directory, 'root.pem');
  const [{ der }] = [...authority.bundles.values()][0]!.roots as unknown as [{ der: Buffer }];
  await writeFile(root, toPem('CERTIFICATE', der));
  const identity = async (name: string): Promise<Identity> => {
    const svid = await authority.issue(workloadId(trustDomain, 'bench', name));
    const base = join(directory, name);
    await mkdir(base);
    const files = { chain: join(base, 'chain.pem'), key: join(base, 'key.pem'), both: join(base, 'both.pem') };
    await writeFile(files.chain, chainPem(svid.chain));
    await writeFile(files.key, privateKeyPem(svid), { mode: 0o600 });
    await writeFile(files.both, chainPem(svid.chain) + privateKeyPem(svid), { mode: 0o600 });
    return { id: svid.id, ...files };
  };
  return {
    directory,
    backendPort,
    inPort: await freePort(),
    outPort: await freePort(),
    callee: await identity('callee'),
    caller: await identity('caller'),
    root,
  };
}

async function exists(program: string): Promise<boolean> {
  try {
    await promisify(execFile)('sh', ['-c', 'command -v "$0"', program]);
    return true;
  } catch {
    return false;
  }
}

/** nginx works in a child of the process that was started. */
async function withChildren(pid: number): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)('sh', ['-c', `pgrep -P ${pid} || true`]);
  return [pid, ...stdout.trim().split('\n').filter(Boolean).map(Number)];
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
