/** An IPv4 address that came to a port of both families, without the prefix that makes it one of IPv6 (RFC 4291 2.5.5.2). */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
