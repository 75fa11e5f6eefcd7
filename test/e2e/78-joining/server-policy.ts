const rule = { http: { methods: ['GET'], paths: ['/**'] }, account: 'none' };

/** The policy of the service: strict, and with `inbound` for callers without a sidecar too. */
export function serverPolicy({ inbound }: { readonly inbound?: object } = {}): object {
  return {
    apiVersion: 'cellmesh.io/v1alpha1',
    kind: 'ServicePolicy',
    metadata: { name: 'server', namespace: 'e2e-joining' },
    spec: {
      serviceAccount: 'server',
      mode: 'enforce',
      hosts: ['server.e2e-joining', 'server.e2e-joining.svc', 'server.e2e-joining.svc.cluster.local'],
      ports: [{ port: 8080, protocol: 'http' }],
      ...(inbound !== undefined && { inbound }),
      allow: [
        { name: 'read', from: ['e2e-joining/caller'], ...rule },
        ...(inbound === undefined ? [] : [{ name: 'before-the-mesh', from: ['unmeshed'], ...rule }]),
      ],
    },
  };
}
