import { createServer } from 'node:net';
import type { Address } from '#runtime/config.ts';

/** Every address of both families (Node takes IPv4 along, whatever `net.ipv6.bindv6only` says). */
const anyAddress = '::';
const anyIpv4Address = '0.0.0.0';

/**
 * Where to listen for an address: there, but on IPv4 alone in place of `::` where the kernel was started without IPv6 (`ipv6.disable=1`), which is
 * not known to whoever writes the address for every node of a cluster.
 */
export async function listenAddress({ host, port }: Address): Promise<Address> {
  return { host: host !== anyAddress || (await hasIpv6()) ? host : anyIpv4Address, port };
}

function hasIpv6(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // Anything else that is wrong is told of by whoever listens there in earnest.
    server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'EAFNOSUPPORT'));
    server.listen({ host: anyAddress, port: 0 }, () => server.close(() => resolve(true)));
  });
}
