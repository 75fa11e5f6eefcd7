import { secretTextOf, textOf, tokenOf } from './cluster-access.ts';
import type { ClusterAccess } from './kubeconfig.ts';
import { KubernetesError } from './kubernetes-error.ts';

/**
 * Runs a call, and once more where the API server does not know us any more: then it has done nothing. Credentials are there before the call
 * begins: whoever logs in first takes longer than a call may.
 */
export async function withCredentials<T>(
  { credentials }: ClusterAccess,
  signal: AbortSignal | undefined,
  call: () => Promise<T>,
): Promise<T> {
  if (credentials === undefined) return await call();
  const used = await unlessAborted(credentials.current(), signal);
  try {
    return await call();
  } catch (error) {
    const isUnknown = error instanceof KubernetesError && error.status === 401;
    if (!isUnknown || !(await unlessAborted(credentials.renew(used), signal))) throw error;
    return await call();
  }
}

/** Others may wait for the same credentials: they are made to their end. */
async function unlessAborted<T>(making: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await making;
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([making, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Of each call: read anew. */
export async function authorizationOf({ token, credentials }: ClusterAccess) {
  const made = await credentials?.current();
  const ours = made?.token ?? (token === undefined ? undefined : await tokenOf(token));
  return {
    headers: ours === undefined ? {} : { authorization: `Bearer ${ours.reveal()}` },
    // A certificate is that of a connection: one that was made may be another by the next call.
    reset: made?.certificate !== undefined,
  };
}

/** Of each connection: read anew. */
export async function tlsOptions({ authority, serverName, certificate, credentials }: ClusterAccess) {
  const made = (await credentials?.current())?.certificate;
  return {
    minVersion: 'TLSv1.2' as const,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    ...(authority !== undefined && { ca: await textOf(authority) }),
    ...(serverName !== undefined && { servername: serverName }),
    ...(certificate !== undefined && {
      cert: await textOf(certificate.chain),
      key: (await secretTextOf(certificate.key)).reveal(),
    }),
    ...(made !== undefined && { cert: made.chain, key: made.key.reveal() }),
  };
}
