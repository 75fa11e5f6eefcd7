import { pathOf, type SpiffeId, spiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';

/**
 * The IDs of the mesh's own authorities. No attestor hands them to a workload, and clients demand the exact one of the
 * authority they call.
 */
const reservedFirstSegments: ReadonlySet<string> = new Set(['cellmesh', 'identity', 'router']);

export function controlPlaneId(trustDomain: TrustDomain): SpiffeId {
  return spiffeId(trustDomain, 'cellmesh', 'control-plane');
}

/** An operator with the rights of an administrator. */
export function adminId(trustDomain: TrustDomain, name: string): SpiffeId {
  return spiffeId(trustDomain, 'cellmesh', 'admin', name);
}

/** The identity service of one region, in the global trust domain. */
export function identityId(globalTrustDomain: TrustDomain, region: string): SpiffeId {
  return spiffeId(globalTrustDomain, 'identity', region);
}

/** One router process, in the global trust domain. */
export function routerId(globalTrustDomain: TrustDomain, region: string, instance: string): SpiffeId {
  return spiffeId(globalTrustDomain, 'router', region, instance);
}

/** The operator's name, or undefined when `id` is not an administrator of `trustDomain`. */
export function adminNameOf(trustDomain: TrustDomain, id: SpiffeId): string | undefined {
  const [, first, second, name, ...rest] = pathOf(id).split('/');
  const isAdmin = trustDomainOf(id) === trustDomain && first === 'cellmesh' && second === 'admin' && rest.length === 0;
  return isAdmin ? name : undefined;
}

/** Whether `id` is a router's of the global trust domain given. */
export function isRouterId(globalTrustDomain: TrustDomain, id: SpiffeId): boolean {
  return trustDomainOf(id) === globalTrustDomain && /^\/router\/[^/]+\/[^/]+$/.test(pathOf(id));
}

export function isReservedId(id: SpiffeId): boolean {
  return reservedFirstSegments.has(pathOf(id).split('/')[1] ?? '');
}
