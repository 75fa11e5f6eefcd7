import type { ServicePort } from '#policy/service-port.ts';
import type { RequestHead } from '#wire/message.ts';
import type { ActivePolicy } from './active-policy.ts';
import { splitAuthority } from './authority.ts';
import { Refused } from './refusal.ts';

/** The port that a caller without TLS means: the one where it wanted to go, or the only one there is. */
export function plaintextPortOf({ snapshot }: ActivePolicy, destination: number | undefined): ServicePort | undefined {
  const { ports } = snapshot.service;
  if (destination !== undefined) return ports.find(({ port }) => port === destination);
  return ports.length === 1 ? ports[0] : undefined;
}

/**
 * The same for a request of such a caller; where several are possible its authority says which. The host in there counts for nothing: callers from before
 * there was a mesh use whatever name they have, and no name leads to another service than this.
 * @throws Refused `host_unknown`
 */
export function plaintextRequestPortOf(
  policy: ActivePolicy,
  { authority }: RequestHead,
  destination: number | undefined,
): ServicePort {
  const { ports } = policy.snapshot.service;
  const found =
    plaintextPortOf(policy, destination) ?? (destination === undefined ? named(ports, authority) : undefined);
  if (found !== undefined) return found;
  const actual = destination === undefined ? authority : `a connection to port ${destination}`;
  throw new Refused('host_unknown', 'call', `ports ${ports.map(({ port }) => port)}`, actual);
}

/** Without a port it is the first, as of requests of the mesh. */
function named(ports: readonly ServicePort[], authority: string): ServicePort | undefined {
  const { port } = splitAuthority(authority);
  return port === undefined ? ports[0] : ports.find((entry) => entry.port === port);
}

/** What was found last: requests for a service mostly name it in one way. */
let lastAuthority: string | undefined;
let lastPolicy: ActivePolicy | undefined;
let lastPort: ServicePort | undefined;

/**
 * The port of this service that the authority means: `host:port` picks the entry of `ports`, without a port it is the first.
 * @throws Refused `host_unknown`
 */
export function portOf(policy: ActivePolicy, { authority }: RequestHead): ServicePort {
  if (lastPort !== undefined && policy === lastPolicy && authority === lastAuthority) return lastPort;
  lastPort = findPort(policy, authority);
  lastPolicy = policy;
  lastAuthority = authority;
  return lastPort;
}

function findPort({ snapshot }: ActivePolicy, authority: string): ServicePort {
  const { hosts, ports } = snapshot.service;
  const { host, port } = splitAuthority(authority);
  const declared = port === undefined ? ports[0] : ports.find((entry) => entry.port === port);
  if (declared === undefined || !hosts.includes(host)) {
    throw new Refused(
      'host_unknown',
      'call',
      `${hosts.join(' or ')}, ports ${ports.map((entry) => entry.port)}`,
      authority,
    );
  }
  return declared;
}
