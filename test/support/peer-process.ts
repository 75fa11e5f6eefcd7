import { once } from 'node:events';
import { obtainSvid } from '#certs/renew-svid.ts';
import { parseSpiffeId, parseTrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle } from '#certs/trust-bundle.ts';
import { listenMtls } from '#net/accept.ts';
import { dialMtls } from '#net/dial.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';

/**
 * A workload in a process of its own (`fork`): joins with the token in the first message, then listens or dials. All it knows
 * of the authority comes through the channel; its key stays here.
 */
export interface StartMessage {
  readonly trustDomain: string;
  readonly bundle: string;
  readonly token: string;
  /** Where to dial and whom to expect; absent for the one that listens. */
  readonly dial?: { readonly port: number; readonly expect: string };
}

export type PeerMessage =
  | { readonly kind: 'join'; readonly token: string; readonly csr: string }
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'heard'; readonly id: string; readonly text: string };

export interface ChainMessage {
  readonly chain: readonly string[];
}

function send(message: PeerMessage): void {
  process.send?.(message);
}

async function run(): Promise<void> {
  const [start] = (await once(process, 'message')) as [StartMessage];
  const bundles = bundlesOf(parseTrustBundle(start.bundle, parseTrustDomain(start.trustDomain)));
  const svid = await obtainSvid({
    requester: {
      async requestSvid(csr) {
        send({ kind: 'join', token: start.token, csr: csr.toString('base64') });
        const [{ chain }] = (await once(process, 'message')) as [ChainMessage];
        return { chainDer: chain.map((der) => Buffer.from(der, 'base64')) };
      },
    },
    bundles: () => bundles,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const identity = new WatchSource<TlsIdentity>({ svid, bundles });
  const common = { host: '127.0.0.1', identity, alpn: ['http/1.1'], clock: systemClock } as const;
  if (start.dial === undefined) {
    const listener = await listenMtls({
      ...common,
      port: 0,
      anonymous: 'refuse',
      onConnection: ({ socket, peer }) => {
        socket.on('data', (chunk) => send({ kind: 'heard', id: peer.id, text: String(chunk) }));
        socket.write(`this is ${svid.id}`);
      },
      onRefused: ({ reason }) => send({ kind: 'heard', id: 'refused', text: reason }),
    });
    send({ kind: 'listening', port: listener.address.port });
  } else {
    const { port, expect } = start.dial;
    const { socket, peer } = await dialMtls({ ...common, port, expect: parseSpiffeId(expect) });
    socket.write(`this is ${svid.id}`);
    socket.on('data', (chunk) => send({ kind: 'heard', id: peer.id, text: String(chunk) }));
  }
}

// Imported for its types this file does nothing; forked it runs.
if (process.send !== undefined && process.argv[1] === import.meta.filename) await run();
