import type { TlsIdentity } from '#net/tls-identity.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { mintTestToken, type TokenChange } from './mint-test-token.ts';
import { startProcessCell } from './process-cell.ts';
import type { SidecarProcess } from './sidecar-process.ts';

const namespace = 'load';
const scope = 'bytes:read';

export interface LoadPairOptions {
  /** Of the caller's application, which routers may send to below `/start`. */
  readonly callerPort: number;
  /** Of the callee's application. */
  readonly calleePorts: readonly { readonly port: number; readonly protocol: 'http' | 'grpc' | 'tcp' }[];
  /** Rules of the callee, as entries of a list in YAML. */
  readonly allow: readonly string[];
  /** Settings of both sidecars, in kebab case. */
  readonly flags?: Readonly<Record<string, string>>;
}

/** Two sidecars as processes of their own: the application of `caller` calls `callee` at the shared port, for customers or for itself. */
export interface LoadPair extends AsyncDisposable {
  readonly caller: SidecarProcess;
  readonly callee: SidecarProcess;
  /** Who dials the caller for a customer. */
  readonly router: Watch<TlsIdentity>;
  /** Who dials the callee: the caller's own SVID. */
  readonly peer: Watch<TlsIdentity>;
  /** A customer's token, as the router mints it. */
  mint(change?: TokenChange): Promise<string>;
}

export async function startLoadPair(options: LoadPairOptions): Promise<LoadPair> {
  await using starting = new AsyncDisposableStack();
  const manifests = manifestsOf(options);
  const cell = starting.use(await startProcessCell({ namespace, manifests, scopes: [scope] }));
  const { flags } = options;
  const callee = await cell.startSidecar('callee', { flags });
  const caller = await cell.startSidecar('caller', { flags });
  const { bundles, router, signingKey } = cell;
  const svid = await cell.svidOf(caller);
  const owned = starting.move();
  return {
    caller,
    callee,
    router: new WatchSource<TlsIdentity>({ svid: router, bundles }),
    peer: new WatchSource<TlsIdentity>({ svid, bundles }),
    mint: (change = {}) => mintTestToken(signingKey, { scope, clientId: router.id, ...change }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function manifestsOf({ callerPort, calleePorts, allow }: LoadPairOptions): string {
  const ports = calleePorts.map(({ port, protocol }) => `{ port: ${port}, protocol: ${protocol} }`).join(', ');
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: caller, namespace: ${namespace} }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${callerPort}, protocol: http }]
  allow:
    - { name: start, from: [router], http: { paths: ["/start/**"] }, scopes: [${scope}] }
  calls:
    - { to: ${namespace}/callee, carry: [${scope}] }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: callee, namespace: ${namespace} }
spec:
  serviceAccount: callee
  mode: enforce
  ports: [${ports}]
  allow:
${allow.map((rule) => `    - ${rule}`).join('\n')}
`;
}
