import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, type Candidate, isHttp2 } from '../candidate.ts';
import { type PairFacts, startPeerPair } from './peer-pair.ts';

/** nginx with one worker a hop, HTTP/1.1 one to one, keep-alive on both sides, no log, no policy, no token. */
export function startNginx(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts) => writeConfigurations(facts, 'proxy');
  return startPeerPair(
    { name: 'nginx', program: 'nginx', configure, isFor: (scenario) => !isHttp2(scenario) },
    backend.port,
  );
}

/** The same with `grpc_pass`: HTTP/2 on every leg, a connection upstream for each call in flight. */
export function startNginxForHttp2(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts) => writeConfigurations(facts, 'grpc');
  return startPeerPair({ name: 'nginx', program: 'nginx', configure, isFor: isHttp2 }, backend.grpcPort);
}

async function writeConfigurations(facts: PairFacts, kind: 'proxy' | 'grpc') {
  const { directory, backendPort, inPort, outPort, callee, caller, root } = facts;
  const files = { in: join(directory, 'in.conf'), out: join(directory, 'out.conf') };
  const http2 = kind === 'grpc' ? ' http2' : '';
  const pass = (scheme: string) =>
    kind === 'grpc'
      ? `grpc_pass grpc${scheme}://next; grpc_set_header Host $host;`
      : `proxy_pass http${scheme}://next; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;`;
  const inbound = `listen 127.0.0.1:${inPort} ssl${http2} backlog=1024;
    ssl_certificate ${callee.chain}; ssl_certificate_key ${callee.key};
    ssl_client_certificate ${root}; ssl_verify_client on; ssl_verify_depth 3; ssl_protocols TLSv1.3;`;
  const outbound = `listen 127.0.0.1:${outPort}${http2} backlog=1024;
    ${kind}_ssl_certificate ${caller.chain}; ${kind}_ssl_certificate_key ${caller.key}; ${kind}_ssl_protocols TLSv1.3;`;
  await writeFile(files.in, configuration(directory, 'in', inbound, pass(''), backendPort));
  await writeFile(files.out, configuration(directory, 'out', outbound, pass('s'), inPort));
  return { in: ['-c', files.in, '-p', directory], out: ['-c', files.out, '-p', directory] };
}

function configuration(directory: string, name: string, server: string, pass: string, upstream: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `worker_processes 1; daemon off; pid ${join(directory, `${name}.pid`)}; error_log stderr crit;
events { worker_connections 20000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_header_timeout 600s; client_max_body_size 0;
  client_body_buffer_size 2m; proxy_max_temp_file_size 0;
  ${temporary.map((one) => `${one}_temp_path ${join(directory, `${name}-${one}`)};`).join(' ')}
  upstream next { server 127.0.0.1:${upstream}; keepalive 512; keepalive_requests 1000000000; }
  server {
    ${server}
    location / { ${pass} }
  }
}
`;
}
