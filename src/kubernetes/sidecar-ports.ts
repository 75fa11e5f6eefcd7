/** Where the sidecar of a pod listens (docs/architecture.md). */
export const sidecarPorts = { outbound: 14_001, intercepted: 14_002, inbound: 14_006, health: 14_020 } as const;

/** Of the port for mesh connections. */
export const sidecarPortName = 'cellmesh-mtls';
export const sidecarName = 'cellmesh-sidecar';
export const interceptName = 'cellmesh-init';
