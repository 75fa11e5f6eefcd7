import type { ServicePort } from '#policy/service-port.ts';
import type { RequestHead } from '#wire/message.ts';
import type { ActivePolicy } from './active-policy.ts';
import { splitAuthority } from './authority.ts';
import { Refused } from './refusal.ts';

/**
 * The port of this service that the authority means: `host:port` picks the entry of `ports`, without a port it is the first.
 * @throws Refused `host_unknown`
 */
export function portOf({ snapshot }: ActivePolicy, { authority }: RequestHead): ServicePort {
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
