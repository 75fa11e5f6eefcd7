/** `grpc.health.v1.Health/Check` (github.com/grpc/grpc-proto), whose two messages have one field each. */
export const healthCheckPath = '/grpc.health.v1.Health/Check';

const serving = 1;
/** Field 1, length-delimited. */
const serviceTag = 0x0a;
/** Field 1, varint. */
const statusTag = 0x08;
const prefixBytes = 5;

/** A `HealthCheckRequest` behind the prefix of a gRPC message. */
export function healthCheckRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([serviceTag, ...varint(name.length)]), name]);
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Whether a `HealthCheckResponse` behind its prefix says SERVING. */
export function isServing(bytes: Buffer): boolean {
  const [flag] = bytes;
  if (bytes.length < prefixBytes || flag !== 0 || bytes.readUInt32BE(1) !== bytes.length - prefixBytes) return false;
  const message = bytes.subarray(prefixBytes);
  return message.length === 2 && message[0] === statusTag && message[1] === serving;
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
