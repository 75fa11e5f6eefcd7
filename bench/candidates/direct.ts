import type { Backend, Candidate } from '../candidate.ts';

/** No proxy at all: what the load generator and the backend cost by themselves. */
export async function startDirect(backend: Backend): Promise<Candidate> {
  return {
    name: 'direct',
    compilesAtRunTime: true,
    target: { port: backend.port, host: 'backend' },
    grpcTarget: { port: backend.grpcPort, host: 'backend' },
    inboundPids: [],
    outboundPids: [],
    async [Symbol.asyncDispose]() {},
  };
}
