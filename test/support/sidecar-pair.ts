import { freePort } from './free-port.ts';
import { startProcessCell } from './process-cell.ts';
import type { SidecarProcess } from './sidecar-process.ts';

/** Where the caller's sidecar believes its callee to be, when somebody is to stand between the two. */
export const betweenHost = '127.0.0.2';

export interface SidecarPairOptions {
  /** Where the callee's sidecar finds its application. */
  readonly applicationPort: number;
  readonly protocol: 'http' | 'grpc' | 'tcp';
  /** The callee is dialled at `betweenHost`, on the port that its sidecar has on 127.0.0.1: nobody is there until the test puts something there. */
  readonly isBetween?: boolean;
  /** More of the caller's `calls` entry, in YAML: `, timeouts: { … }`. */
  readonly call?: string;
  /** Flags of both sidecars, without dashes. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Of Node, for both; an inspector where there are none. */
  readonly nodeFlags?: string;
}

/** `client -> port -> caller == mutual TLS, HTTP/2 ==> callee -> application`: the two sidecars are processes of their own. */
export interface SidecarPair extends AsyncDisposable {
  /** Where clients call the application, a plain port on loopback. */
  readonly port: number;
  readonly caller: SidecarProcess;
  readonly callee: SidecarProcess;
}

/** Whoever calls `port` needs no token, and may do anything. */
export async function startSidecarPair(options: SidecarPairOptions): Promise<SidecarPair> {
  const port = await freePort();
  await using starting = new AsyncDisposableStack();
  const manifests = manifestsOf(options, port, await freePort());
  const cell = starting.use(await startProcessCell({ namespace: 'pair', manifests }));
  const { flags, nodeFlags, isBetween = false } = options;
  const callee = await cell.startSidecar('callee', {
    flags: { ...flags, ...(isBetween && { advertise: betweenHost }) },
    nodeFlags,
  });
  const caller = await cell.startSidecar('caller', { flags, nodeFlags });
  const owned = starting.move();
  return { port, caller, callee, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function manifestsOf({ applicationPort, protocol, call = '' }: SidecarPairOptions, listen: number, unused: number) {
  const anything = protocol === 'tcp' ? '' : ', http: { paths: ["/**"] }';
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: caller, namespace: pair }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${unused}, protocol: http }]
  allow: []
  calls:
    - { to: pair/callee, carry: [], listen: "127.0.0.1:${listen}"${call} }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: callee, namespace: pair }
spec:
  serviceAccount: callee
  mode: enforce
  ports: [{ port: ${applicationPort}, protocol: ${protocol} }]
  allow:
    - { name: all, from: [pair/caller], account: none${anything} }
`;
}
