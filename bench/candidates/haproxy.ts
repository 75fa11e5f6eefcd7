import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend, Candidate } from '../candidate.ts';
import { type PairFacts, startPeerPair } from './peer-pair.ts';

/** haproxy with one thread a hop, HTTP/1.1 one to one, connections reused, no log, no policy, no token. */
export function startHaproxy(backend: Backend): Promise<Candidate | undefined> {
  return startPeerPair({ name: 'haproxy', program: 'haproxy', configure }, backend);
}

async function configure(facts: PairFacts) {
  const { directory, backendPort, inPort, outPort, callee, caller, root } = facts;
  const files = { in: join(directory, 'in.cfg'), out: join(directory, 'out.cfg') };
  const tls = `ssl crt ${callee.both} ca-file ${root} verify required ssl-min-ver TLSv1.3`;
  const dial = `ssl crt ${caller.both} ca-file ${root} verify required ssl-min-ver TLSv1.3`;
  await writeFile(files.in, configuration(`127.0.0.1:${inPort} ${tls}`, `127.0.0.1:${backendPort}`));
  await writeFile(files.out, configuration(`127.0.0.1:${outPort}`, `127.0.0.1:${inPort} ${dial}`));
  return { in: ['-f', files.in], out: ['-f', files.out] };
}

function configuration(bind: string, server: string): string {
  return `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend front
  bind ${bind}
  default_backend next
backend next
  server one ${server}
`;
}
