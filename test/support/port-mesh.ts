import { freePort } from './free-port.ts';
import { type Mesh, type MeshOptions, startMesh } from './start-mesh.ts';

export interface PortMesh extends AsyncDisposable {
  readonly mesh: Mesh;
  /** Where `api` calls `messaging`, a plain port on loopback. */
  readonly listenPort: number;
}

/** A mesh in which `messaging` listens on `port` and speaks `protocol`; `rules` say what `api` may call there. */
export async function startPortMesh(
  port: number,
  rules: readonly string[],
  protocol: 'http' | 'grpc' | 'tcp',
  options: Pick<MeshOptions, 'interception' | 'otlpEndpoint' | 'isLeaving'> = {},
): Promise<PortMesh> {
  const listenPort = await freePort();
  const allow = rules.map((rule) => `    - ${rule}`).join('\n');
  const mesh = await startMesh({
    ...options,
    listenPort,
    editManifests: (text) =>
      text.replace(
        /(name: messaging, namespace[\s\S]*?)ports: \[.*\]\n {2}allow:/,
        (_, before) => `${before}ports: [{ port: ${port}, protocol: ${protocol} }]\n  allow:\n${allow}`,
      ),
  });
  return { mesh, listenPort, [Symbol.asyncDispose]: () => mesh[Symbol.asyncDispose]() };
}
