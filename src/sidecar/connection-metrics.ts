import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Refusal } from '#net/accept.ts';
import { PeerRefused } from '#net/peer-refused.ts';
import { shortName } from '#policy/decision-line.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { ExponentialHistogram } from '#runtime/exponential-histogram.ts';
import type { Metrics, Sample } from '#runtime/metrics.ts';
import type { Protocol } from '#wire/exchange.ts';
import type { Dial } from '#wire/mesh-upstreams.ts';
import { negotiatedProtocol } from '#wire/negotiated-protocol.ts';
import type { Direction } from './request-metrics.ts';

/** Who is at the other end: another sidecar or a router, over TLS; a caller without TLS; or this pod's application. */
type Side = 'mesh' | 'plaintext' | 'application';

interface ConnectionKind {
  /** That of the requests which the connection carries. */
  readonly direction: Direction;
  readonly side: Side;
  readonly protocol: Protocol | 'tcp';
}

interface Connections {
  readonly kind: ConnectionKind;
  opened: number;
  /** With who is at the other end, where that is a peer. */
  readonly open: Map<Socket, SpiffeId | undefined>;
  /** Of connections that have closed. */
  received: number;
  sent: number;
}

interface Handshakes {
  readonly results: Map<string, number>;
  readonly durations: ExponentialHistogram;
}

/** HTTP/2 streams are counted by whoever holds them. */
interface StreamSource {
  readonly direction: Direction;
  readonly side: Side;
  readonly streams: () => number;
}

/** Peers are bounded by connections, and names of refusals by our rules and OpenSSL's; what is beyond these bounds is one series. */
const peersMax = 500;
const resultsMax = 100;
const other = 'other';

/**
 * Connections and handshakes. Counting costs two entries of a map for each connection and nothing for a request: bytes are what sockets count by
 * themselves, and the rest is put together when somebody looks.
 */
export class ConnectionMetrics {
  readonly #kinds = new Map<string, Connections>();
  readonly #handshakes: Readonly<Record<Direction, Handshakes>> = { inbound: noHandshakes(), outbound: noHandshakes() };

  readonly #nameOf: (id: SpiffeId | undefined) => string;
  readonly #refused: { inc(): void };

  /** `isForeign`: as of `RequestMetrics`. */
  constructor(metrics: Metrics, streams: readonly StreamSource[], isForeign: (id: string) => boolean = () => false) {
    this.#nameOf = (id) => (isForeign(id ?? '') ? id! : shortName(id));
    this.#refused = metrics.counter(
      'cellmesh_connections_refused_total',
      'Mesh connections that were refused in or right after the handshake.',
    );
    this.#observeConnections(metrics);
    this.#observeHandshakes(metrics);
    metrics.family({
      name: 'cellmesh_http2_streams_open',
      help: 'HTTP/2 streams that are open.',
      type: 'gauge',
      read: () => streams.map(({ direction, side, streams }) => ({ labels: { direction, side }, value: streams() })),
    });
  }

  /** A connection that is ready for bytes. */
  opened(
    socket: Socket,
    direction: Direction,
    side: Side,
    protocol: ConnectionKind['protocol'],
    peer?: SpiffeId,
  ): void {
    const connections = this.#connectionsOf({ direction, side, protocol });
    connections.opened++;
    connections.open.set(socket, peer);
    const onClose = () => {
      connections.open.delete(socket);
      connections.received += socket.bytesRead;
      connections.sent += socket.bytesWritten;
    };
    if (socket.destroyed) onClose();
    else socket.once('close', onClose);
  }

  /** A connection to another sidecar, or what became of it. */
  dialed({ result, durationMs, expect }: Dial): void {
    if (result.tag === 'failed') this.#count('outbound', failureOf(result.error));
    else {
      this.#shookHands('outbound', durationMs);
      this.opened(result.socket, 'outbound', 'mesh', negotiatedProtocol(result.socket), expect);
    }
  }

  /** A connection of another sidecar, or of a router. */
  accepted(socket: TLSSocket, protocol: Protocol, peer: SpiffeId, handshakeMs: number): void {
    this.#shookHands('inbound', handshakeMs);
    this.opened(socket, 'inbound', 'mesh', protocol, peer);
  }

  /** One that was not accepted. */
  refused({ rule }: Refusal): void {
    this.#refused.inc();
    this.#count('inbound', rule);
  }

  #shookHands(direction: Direction, durationMs: number): void {
    this.#handshakes[direction].durations.observe(durationMs / 1000);
    this.#count(direction, 'ok');
  }

  #count(direction: Direction, result: string): void {
    const { results } = this.#handshakes[direction];
    const counted = results.size < resultsMax || results.has(result) ? result : other;
    results.set(counted, (results.get(counted) ?? 0) + 1);
  }

  #connectionsOf(kind: ConnectionKind): Connections {
    const key = `${kind.direction} ${kind.side} ${kind.protocol}`;
    let connections = this.#kinds.get(key);
    if (connections === undefined) {
      connections = { kind, opened: 0, open: new Map(), received: 0, sent: 0 };
      this.#kinds.set(key, connections);
    }
    return connections;
  }

  #observeConnections(metrics: Metrics): void {
    const each = (read: (connections: Connections) => Sample[]) => () => [...this.#kinds.values()].flatMap(read);
    metrics.family({
      name: 'cellmesh_connections_opened_total',
      help: 'Connections that were opened.',
      type: 'counter',
      read: each(({ kind, opened }) => [{ labels: { ...kind }, value: opened }]),
    });
    metrics.family({
      name: 'cellmesh_connections_open',
      help: 'Connections that are open.',
      type: 'gauge',
      read: each(({ kind, open }) => [{ labels: { ...kind }, value: open.size }]),
    });
    metrics.family({
      name: 'cellmesh_connection_bytes_total',
      help: 'Bytes that connections carried; within TLS, where there is TLS.',
      type: 'counter',
      read: each(bytesOf),
    });
    metrics.family({
      name: 'cellmesh_peer_connections',
      help: 'Open connections with other sidecars and routers, by who is at the other end.',
      type: 'gauge',
      read: () => peersOf([...this.#kinds.values()], this.#nameOf),
    });
  }

  #observeHandshakes(metrics: Metrics): void {
    const each = (read: (direction: Direction, handshakes: Handshakes) => Sample[]) => () =>
      (['inbound', 'outbound'] as const).flatMap((direction) => read(direction, this.#handshakes[direction]));
    metrics.family({
      name: 'cellmesh_tls_handshakes_total',
      help: 'TLS handshakes, by their result: ok, or what was wrong.',
      type: 'counter',
      read: each((direction, { results }) =>
        [...results].map(([result, value]) => ({ labels: { direction, result }, value })),
      ),
    });
    metrics.family({
      name: 'cellmesh_tls_handshake_duration_seconds',
      help: 'From the start of a connection to the end of its TLS handshake, of those that succeeded.',
      type: 'histogram',
      read: each((direction, { durations }) => durations.samples({ direction })),
    });
  }
}

/** A rule of ours that was broken, or the code of the error. */
function failureOf(error: unknown): string {
  if (error instanceof PeerRefused) return error.rule;
  return isCellmeshError(error) ? error.code : 'dial_failed';
}

function noHandshakes(): Handshakes {
  return { results: new Map([['ok', 0]]), durations: new ExponentialHistogram() };
}

function bytesOf({ kind, open, ...closed }: Connections): Sample[] {
  let { received, sent } = closed;
  for (const socket of open.keys()) {
    received += socket.bytesRead;
    sent += socket.bytesWritten;
  }
  return [
    { labels: { ...kind, flow: 'received' }, value: received },
    { labels: { ...kind, flow: 'sent' }, value: sent },
  ];
}

function peersOf(all: readonly Connections[], nameOf: (id: SpiffeId | undefined) => string): Sample[] {
  const samples: Sample[] = [];
  for (const direction of ['inbound', 'outbound'] as const) {
    const counts = new Map<string, number>();
    for (const { kind, open } of all) {
      if (kind.side !== 'mesh' || kind.direction !== direction) continue;
      for (const id of open.values()) {
        const peer = counts.size < peersMax || counts.has(nameOf(id)) ? nameOf(id) : other;
        counts.set(peer, (counts.get(peer) ?? 0) + 1);
      }
    }
    for (const [peer, value] of counts) samples.push({ labels: { direction, peer }, value });
  }
  return samples;
}
