import { isIPv6, type Socket, SocketAddress } from 'node:net';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { libcFunction } from '#runtime/libc.ts';

export interface Destination {
  readonly host: string;
  readonly port: number;
}

/** Where the client of an accepted connection wanted to go before a packet filter sent it here; undefined when nothing did. */
export type OriginalDestination = (socket: Socket) => Destination | undefined;

/** `SO_ORIGINAL_DST` of linux/netfilter_ipv4.h and `IP6T_SO_ORIGINAL_DST` of netfilter_ipv6/ip6_tables.h: the same number. */
const originalDst = 80;
const level = { ipv4: 0, ipv6: 41 } as const;
/** A `sockaddr_in6`; a `sockaddr_in` is shorter. */
const addressBytesMax = 28;

/**
 * Node has no `getsockopt`.
 * @throws CellmeshError `start_failed` where connections cannot be redirected in this way
 */
export async function openOriginalDestination(): Promise<OriginalDestination> {
  if (process.platform !== 'linux') {
    throw new CellmeshError('start_failed', `interception needs Linux, this is ${process.platform}`);
  }
  try {
    const getsockopt = await libcFunction(
      'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
    );
    return (socket) => {
      const address = Buffer.alloc(addressBytesMax);
      const isV6 = isIPv6(socket.localAddress ?? '');
      const failed = getsockopt(descriptorOf(socket), isV6 ? level.ipv6 : level.ipv4, originalDst, address, [
        addressBytesMax,
      ]);
      if (failed !== 0) return undefined;
      const destination = readAddress(address, isV6);
      const isOurs = destination.host === socket.localAddress && destination.port === socket.localPort;
      return isOurs ? undefined : destination;
    };
  } catch (cause) {
    throw new CellmeshError('start_failed', `interception cannot use this system's libc: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** A `sockaddr`: family, port in network order, and the address behind it, in IPv6 after the flow. */
function readAddress(bytes: Buffer, isV6: boolean): Destination {
  const port = bytes.readUInt16BE(2);
  if (!isV6) return { host: bytes.subarray(4, 8).join('.'), port };
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(8 + index * 2).toString(16));
  // In the canonical form (RFC 5952), as Node and resolvers write it.
  return { host: new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address, port };
}

/** Nothing documented leads to the descriptor; `_handle.fd` does, since Node 0.4. Without it `getsockopt` fails, and so does the connection. */
function descriptorOf(socket: Socket): number {
  return (socket as { _handle?: { fd?: number } })._handle?.fd ?? -1;
}
