import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import { fieldLines } from '#wire/field-lines.ts';
import { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import { ClientRecorder } from '../wire/support/client-recorder.ts';

export interface MeshCall {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface MeshAnswer {
  readonly status: number;
  readonly decision: string | undefined;
  readonly body: string;
}

export interface MeshClientOptions {
  readonly identity: Watch<TlsIdentity>;
  readonly expect: SpiffeId;
  readonly port: () => number;
}

/** Calls one sidecar over connections that stay open from call to call, by the engine that routers and sidecars use. */
export class MeshClient implements AsyncDisposable {
  readonly #options: MeshClientOptions;
  readonly #upstreams: MeshUpstreams;

  constructor(options: MeshClientOptions) {
    this.#options = options;
    this.#upstreams = new MeshUpstreams({ identity: options.identity, clock: systemClock });
  }

  async call({ method, path, headers, body }: MeshCall): Promise<MeshAnswer> {
    const { expect, port } = this.#options;
    const { host = 'localhost', ...fields } = headers;
    const recorder = new ClientRecorder(body === undefined ? [] : [body]);
    this.#upstreams.pool.request(
      this.#upstreams.to(expect, { host: '127.0.0.1', port: port() }),
      {
        method,
        target: path,
        authority: host,
        fields: fieldLines(fields),
        framing: body === undefined ? 'none' : 'length',
        contentLength: Buffer.byteLength(body ?? ''),
        expectsContinue: false,
        acceptsTrailers: false,
      },
      recorder,
    );
    const { status, head, body: text, error } = await recorder.done;
    if (error !== undefined) throw error;
    return { status: status!, decision: head?.find('cellmesh-decision'), body: text };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#upstreams[Symbol.asyncDispose]();
  }
}
