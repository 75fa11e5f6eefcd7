import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend, Candidate } from '../candidate.ts';
import { type PairFacts, startPeerPair } from './peer-pair.ts';

/** nginx with one worker a hop, HTTP/1.1 one to one, keep-alive on both sides, no log, no policy, no token. */
export function startNginx(backend: Backend): Promise<Candidate | undefined> {
  return startPeerPair({ name: 'nginx', program: 'nginx', configure }, backend);
}

async function configure(facts: PairFacts) {
  const { directory, backendPort, inPort, outPort, callee, caller, root } = facts;
  const files = { in: join(directory, 'in.conf'), out: join(directory, 'out.conf') };
  const inbound = `listen 127.0.0.1:${inPort} ssl backlog=1024;
    ssl_certificate ${callee.chain}; ssl_certificate_key ${callee.key};
    ssl_client_certificate ${root}; ssl_verify_client on; ssl_verify_depth 3; ssl_protocols TLSv1.3;`;
  const outbound = `listen 127.0.0.1:${outPort} backlog=1024;
    proxy_ssl_certificate ${caller.chain}; proxy_ssl_certificate_key ${caller.key}; proxy_ssl_protocols TLSv1.3;`;
  await writeFile(files.in, configuration(directory, 'in', inbound, 'http', backendPort));
  await writeFile(files.out, configuration(directory, 'out', outbound, 'https', inPort));
  return { in: ['-c', files.in, '-p', directory], out: ['-c', files.out, '-p', directory] };
}

function configuration(directory: string, name: string, server: string, scheme: string, upstream: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `worker_processes 1; daemon off; pid ${join(directory, `${name}.pid`)}; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_buffer_size 2m; proxy_max_temp_file_size 0;
  ${temporary.map((one) => `${one}_temp_path ${join(directory, `${name}-${one}`)};`).join(' ')}
  upstream next { server 127.0.0.1:${upstream}; keepalive 512; keepalive_requests 1000000000; }
  server {
    ${server}
    location / { proxy_pass ${scheme}://next; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`;
}
