import { join } from 'node:path';
import { ApiClient } from '#api/api-client.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { FeedClient } from '#feeds/feed-client.ts';
import { LastGoodStore } from '#feeds/last-good.ts';
import { type Endpoint, type EndpointsByService, parseEndpoints } from '#net/endpoints.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { parseRoutes, type RoutesDocument } from '#policy/routes.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CellEntry } from '#tokens/cell-directory.ts';
import { Balancers } from '#traffic/balancers.ts';
import type { WireLimits } from '#wire/limit-settings.ts';
import { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import { OpenTunnels } from '#wire/open-tunnels.ts';

export interface CellLinkOptions {
  readonly cell: CellEntry;
  readonly identity: Watch<TlsIdentity>;
  readonly instance: string;
  /** Where this router runs. */
  readonly locality: string;
  readonly stateDir: string;
  readonly limits: WireLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * What the router knows of one cell, and its connections into it. Nothing is shared between cells but the process: a cell that hangs
 * holds its own connections and queue, and no other's (IDENTITY C.4).
 */
export class CellLink implements AsyncDisposable {
  readonly cell: CellEntry;
  readonly mesh: MeshUpstreams;
  readonly balancers: Balancers<SpiffeId, Endpoint>;
  /** WebSockets of customers. */
  readonly tunnels: OpenTunnels;
  readonly #client: ApiClient;
  readonly #feed: FeedClient;
  #routes: RoutesDocument | undefined;

  static async open(options: CellLinkOptions): Promise<CellLink> {
    const link = new CellLink(options);
    await link.#feed.start();
    return link;
  }

  private constructor(options: CellLinkOptions) {
    const { cell, identity, limits, clock, random, logger, instance, stateDir } = options;
    this.cell = cell;
    this.mesh = new MeshUpstreams({ identity, clock, limits: limits.responses, poolLimits: limits.pool });
    const endpoints = new WatchSource<EndpointsByService>(new Map());
    this.balancers = new Balancers({ instances: endpoints, clock, random, locality: options.locality });
    this.tunnels = new OpenTunnels(clock);
    this.#client = new ApiClient({
      host: cell.host,
      port: cell.port,
      expect: controlPlaneId(cell.trustDomain),
      identity,
      clock,
    });
    this.#feed = new FeedClient({
      open: () => this.#client.open(Feed.method.subscribe),
      publisher: `the control plane of ${cell.cellId}`,
      instance,
      features: [],
      apply: {
        endpoints: (document) => endpoints.set(parseEndpoints(document)),
        routes: (document) => {
          this.#routes = parseRoutes(document);
        },
      },
      lastGood: new LastGoodStore(join(stateDir, 'last-good', cell.cellId)),
      clock,
      random,
      logger: logger.with({ cell: cell.cellId }),
    });
  }

  /** What the cell exposes; undefined until it has been told once. */
  get routes(): RoutesDocument | undefined {
    return this.#routes;
  }

  get isConnected(): boolean {
    return this.#feed.isConnected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tunnels[Symbol.dispose]();
    await this.#feed[Symbol.asyncDispose]();
    await this.mesh[Symbol.asyncDispose]();
    this.#client[Symbol.dispose]();
  }
}
