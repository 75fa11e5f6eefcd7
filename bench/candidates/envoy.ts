import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportJWK, SignJWT } from 'jose';
import { type Backend, type Candidate, isHttp2 } from '../candidate.ts';
import { type PairFacts, startPeerPair } from './peer-pair.ts';

/** Of a cluster. */
const http2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};
const issuer = 'https://identity.example';
const tokenField = 'x-token';
export const equalWork = 'equal-work';

/** Scenarios in which Envoy does what a sidecar does; arrivals at a rate are compared at equal work too. */
function isAtEqualWork(scenario: string): boolean {
  return scenario.startsWith(equalWork) || scenario.startsWith('rate-');
}

/** Envoy with one worker a hop: HTTP/2 with mutual TLS between the hops, and nothing else. */
export function startEnvoy(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts, number: number) =>
    writeConfigurations(facts, { base: 101 + 10 * number, in: inbound(facts), out: outbound(facts) });
  return startPeerPair(
    {
      name: 'envoy',
      program: 'envoy',
      configure,
      isFor: (scenario) => !isAtEqualWork(scenario) && !isHttp2(scenario),
    },
    backend.port,
  );
}

/** The same with HTTP/2 on every leg. */
export function startEnvoyForHttp2(backend: Backend): Promise<Candidate | undefined> {
  const configure = (facts: PairFacts, number: number) =>
    writeConfigurations(facts, {
      base: 105 + 10 * number,
      in: inbound(facts, { isHttp2: true }),
      out: outbound(facts),
    });
  return startPeerPair({ name: 'envoy', program: 'envoy', configure, isFor: isHttp2 }, backend.grpcPort);
}

/** The same at the work of a sidecar pair: ten rules of identity and path, an RS256 token verified with Envoy's cache on, an access log to a file on both hops. */
export async function startEnvoyAtEqualWork(backend: Backend): Promise<Candidate | undefined> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }] };
  const mint = (number: number) =>
    new SignJWT({ scope: 'messages:read messages:write', account: `AC${String(number).padStart(32, '0')}` })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench' })
      .setIssuer(issuer)
      .setAudience('cell-1')
      .setExpirationTime('1h')
      .sign(privateKey);
  const configure = (facts: PairFacts, number: number) =>
    writeConfigurations(facts, {
      base: 103 + 10 * number,
      in: inbound(facts, { keys: JSON.stringify(keys) }),
      out: outbound(facts, join(facts.directory, 'out.log')),
    });
  const fieldsOf = async (number: number) => ({ [tokenField]: await mint(number) });
  const fieldSets = (tokens: number) => Promise.all(Array.from({ length: tokens }, (_, number) => fieldsOf(number)));
  return startPeerPair(
    { name: 'envoy', program: 'envoy', configure, fields: await fieldsOf(0), fieldSets, isFor: isAtEqualWork },
    backend.port,
  );
}

async function writeConfigurations(
  { directory }: PairFacts,
  { base, ...hops }: { readonly base: number; readonly in: object; readonly out: object },
) {
  const args = async (hop: 'in' | 'out', id: number) => {
    const file = join(directory, `${hop}.json`);
    await writeFile(file, JSON.stringify(hops[hop]));
    return ['-c', file, '--concurrency', '1', '--base-id', String(id), '-l', 'critical'];
  };
  return { in: await args('in', base * 2), out: await args('out', base * 2 + 1) };
}

function inbound(
  facts: PairFacts,
  { keys, isHttp2: toHttp2 = false }: { readonly keys?: string; readonly isHttp2?: boolean } = {},
): object {
  const { directory, backendPort, inPort, callee, root } = facts;
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      require_client_certificate: true,
      common_tls_context: { ...commonTls(callee, root), alpn_protocols: ['h2', 'http/1.1'] },
    },
  };
  const [log, filters] = keys === undefined ? [undefined, []] : [join(directory, 'in.log'), policyOf(facts, keys)];
  return bootstrap(log, inPort, filters, { transport_socket: tls }, { ...cluster(backendPort), ...(toHttp2 && http2) });
}

/** Token and rules, as a callee's sidecar has them. */
function policyOf({ caller }: PairFacts, keys: string): object[] {
  const rules = Array.from({ length: 10 }, (_, i) => {
    const path = i === 9 ? '/bytes' : `/v1/resource-${i}`;
    const principal = { authenticated: { principal_name: { exact: caller.id } } };
    return [`rule-${i}`, { permissions: [{ url_path: { path: { prefix: path } } }], principals: [principal] }];
  });
  const provider = {
    issuer,
    audiences: ['cell-1'],
    local_jwks: { inline_string: keys },
    from_headers: [{ name: tokenField }],
    forward: true,
    jwt_cache_config: { jwt_cache_size: 1000 },
  };
  return [
    filter('jwt_authn', 'JwtAuthentication', {
      providers: { one: provider },
      rules: [{ match: { prefix: '/' }, requires: { provider_name: 'one' } }],
    }),
    filter('rbac', 'RBAC', { rules: { action: 'ALLOW', policies: Object.fromEntries(rules) } }),
  ];
}

function outbound({ inPort, outPort, caller, root }: PairFacts, log?: string): object {
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      common_tls_context: { ...commonTls(caller, root), alpn_protocols: ['h2'] },
    },
  };
  const next = { ...cluster(inPort), transport_socket: tls, ...http2 };
  return bootstrap(log, outPort, [], {}, next);
}

function commonTls({ chain, key }: PairFacts['callee'], root: string): object {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { filename: chain }, private_key: { filename: key } }],
    validation_context: { trusted_ca: { filename: root } },
  };
}

function cluster(port: number): object {
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  return {
    name: 'next',
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: 'next', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    circuit_breakers: { thresholds: [{ max_connections: 4096, max_requests: 4096, max_pending_requests: 4096 }] },
  };
}

function filter(name: string, type: string, config: object): object {
  const typed = { '@type': `type.googleapis.com/envoy.extensions.filters.http.${name}.v3.${type}`, ...config };
  return { name: `envoy.filters.http.${name}`, typed_config: typed };
}

function bootstrap(
  log: string | undefined,
  port: number,
  filters: readonly object[],
  chain: object,
  next: object,
): object {
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'bench',
    codec_type: 'AUTO',
    access_log: log === undefined ? [] : [accessLog(log)],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: 'next', timeout: '0s' } }],
        },
      ],
    },
    http_filters: [...filters, filter('router', 'Router', {})],
  };
  const connection = {
    filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
    ...chain,
  };
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  return {
    static_resources: { listeners: [{ name: 'front', address, filter_chains: [connection] }], clusters: [next] },
  };
}

function accessLog(path: string): object {
  return {
    name: 'envoy.access_loggers.file',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
      path,
    },
  };
}
