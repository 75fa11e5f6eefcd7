import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, type Candidate, isHttp2 } from '../candidate.ts';
import { type PairFacts, startPeerPair } from './peer-pair.ts';

/** haproxy with one thread a hop, HTTP/1.1 one to one, connections reused, no log, no policy, no token. */
export function startHaproxy(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts) => writeConfigurations(facts, 'h1');
  return startPeerPair(
    { name: 'haproxy', program: 'haproxy', configure, isFor: (scenario) => !isHttp2(scenario) },
    backend.port,
  );
}

/** The same with HTTP/2 passed through on every leg. */
export function startHaproxyForHttp2(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts) => writeConfigurations(facts, 'h2');
  return startPeerPair({ name: 'haproxy', program: 'haproxy', configure, isFor: isHttp2 }, backend.grpcPort);
}

async function writeConfigurations(facts: PairFacts, version: 'h1' | 'h2') {
  const { directory, backendPort, inPort, outPort, callee, caller, root } = facts;
  const files = { in: join(directory, 'in.cfg'), out: join(directory, 'out.cfg') };
  const tls = `ssl crt ${callee.both} ca-file ${root} verify required ssl-min-ver TLSv1.3`;
  const dial = `ssl crt ${caller.both} ca-file ${root} verify required ssl-min-ver TLSv1.3`;
  const [plain, alpn] = version === 'h2' ? ['proto h2', 'alpn h2'] : ['', 'alpn http/1.1'];
  await writeFile(files.in, configuration(`127.0.0.1:${inPort} ${tls} ${alpn}`, `127.0.0.1:${backendPort} ${plain}`));
  await writeFile(files.out, configuration(`127.0.0.1:${outPort} ${plain}`, `127.0.0.1:${inPort} ${dial} ${alpn}`));
  // Quiet: what it says of file descriptors at its start matters with many connections only.
  return { in: ['-q', '-f', files.in], out: ['-q', '-f', files.out] };
}

function configuration(bind: string, server: string): string {
  return `global
  nbthread 1
  maxconn 12000
  no strict-limits
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
