import type { Agent, buildConnector, Dispatcher } from 'undici';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { authorizationOf, tlsOptions, withCredentials } from './client-credentials.ts';
import { listAt, textAt } from './json.ts';
import type { ClusterAccess } from './kubeconfig.ts';
import { KubernetesError, refusalOf, unavailable } from './kubernetes-error.ts';
import { type ObjectMetadata, type ObjectName, pathOf } from './object-path.ts';
import type { Resource } from './resources.ts';
import { type WatchEvent, watchEvents } from './watch-events.ts';

interface ClientOptions {
  readonly access: ClusterAccess;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Selection {
  /** Absent: of all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

interface Page<T> {
  readonly items: readonly T[];
  /** From where a watch goes on, once the last page is there. */
  readonly resourceVersion: string;
}

interface ApplyOptions {
  /** Who owns the fields that are set. */
  readonly fieldManager: string;
  /** Takes fields that others own; default: a 409 names them. */
  readonly force?: boolean;
  readonly subresource?: 'status';
}

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: { readonly type: string; readonly text: string };
  /** Sending it again changes nothing: it is tried again. */
  readonly isRepeatable: boolean;
}

/** From the first byte sent to the last one read, with all that is tried again. */
const callMsMax = 15_000;
const connectMsMax = 5_000;
const attemptsMax = 4;
/** The pause before the second attempt, doubled for each further one; drawn between half of it and all. */
const pauseMsMin = 200;
/** A server that asks for more patience than a call has is given up at once. */
const pauseMsMax = 5_000;
/** etcd takes objects of 1.5 MB; most have some kilobytes, and pages are of so many that one stays below the bound. */
const answerBytesMax = 32 * 1024 * 1024;
export const pageItemsMax = 250;
/** The server ends a watch after this, with a bookmark before, and the next one goes on there: so it is heard even when nothing happens. */
const watchSecondsMax = 120;
/** A watch that is quiet for longer is dead. */
const watchSilenceMsMax = 150_000;
const connectionsMax = 16;

/**
 * The part of the Kubernetes API that this product needs. Credentials are read anew for each call and connection, since they rotate under a
 * running process. What fails is a `KubernetesError` where the server has answered, else `kubernetes_unavailable` or `file_unreadable`.
 */
export class KubernetesClient implements AsyncDisposable {
  readonly #options: ClientOptions;
  readonly #agent: Agent;

  private constructor(options: ClientOptions, agent: Agent) {
    this.#options = options;
    this.#agent = agent;
  }

  /** Loads the HTTP client, which a process outside of a cluster does without. Nothing is asked yet. */
  static async open(options: ClientOptions): Promise<KubernetesClient> {
    const undici = await import('undici');
    const connect: buildConnector.connector = (target, callback) => {
      tlsOptions(options.access).then(
        (tls) => undici.buildConnector({ ...tls, allowH2: false, timeout: connectMsMax })(target, callback),
        (error: Error) => callback(error, null),
      );
    };
    const agent = new undici.Agent({
      connect,
      allowH2: false,
      connections: connectionsMax,
      bodyTimeout: watchSilenceMsMax,
    });
    return new KubernetesClient(options, agent);
  }

  async get<T>(resource: Resource<T>, name: ObjectName, signal?: AbortSignal): Promise<T> {
    const call = { method: 'GET', path: pathOf(resource, name), isRepeatable: true } as const;
    return resource.read(await this.#json(call, signal));
  }

  /** All pages, one after the other. A list that takes too long ends with an error that `isExpired`. */
  async *list<T>(resource: Resource<T>, selection: Selection = {}, signal?: AbortSignal): AsyncGenerator<Page<T>> {
    let next: string | undefined;
    do {
      const query = { ...selectors(selection), limit: String(pageItemsMax), continue: next };
      const page = await this.#json(
        { method: 'GET', path: pathOf(resource, selection), query, isRepeatable: true },
        signal,
      );
      yield {
        items: listAt(page, 'items').map((item) => resource.read(item)),
        resourceVersion: textAt(page, 'metadata', 'resourceVersion') ?? '',
      };
      next = textAt(page, 'metadata', 'continue');
    } while (next !== undefined && next !== '');
  }

  /** What happens after `resourceVersion`, until the server ends it, which is no error. Not tried again: whoever watches knows from where. */
  async *watch<T>(
    resource: Resource<T>,
    { resourceVersion, ...selection }: Selection & { readonly resourceVersion: string },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const query = {
      ...selectors(selection),
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(watchSecondsMax),
    };
    const call = { method: 'GET', path: pathOf(resource, selection), query, isRepeatable: false } as const;
    try {
      const { body } = await this.#send(call, signal);
      yield* watchEvents(body, resource);
    } catch (error) {
      signal.throwIfAborted();
      throw typed(error);
    }
  }

  /** Reviews: the server answers, and keeps nothing, so that it may be asked again. */
  async review<T>(resource: Resource<T>, spec: object, signal?: AbortSignal): Promise<T> {
    const { apiVersion, kind } = resource;
    const body = { type: 'application/json', text: JSON.stringify({ apiVersion, kind, spec }) };
    const call = { method: 'POST', path: pathOf(resource, {}), body, isRepeatable: true } as const;
    return resource.read(await this.#json(call, signal));
  }

  /** @throws KubernetesError that `isConflict`: there is one already */
  async create<T>(resource: Resource<T>, name: ObjectName, fields: object, signal?: AbortSignal): Promise<T> {
    return this.#put('POST', pathOf(resource, withoutName(name)), resource, name, fields, signal);
  }

  /** As a whole, if it still is as it was at `resourceVersion`. @throws KubernetesError that `isConflict`: it is another by now */
  async replace<T>(
    resource: Resource<T>,
    name: ObjectName & { readonly resourceVersion: string },
    fields: object,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#put('PUT', pathOf(resource, name), resource, name, fields, signal);
  }

  /**
   * Server-side apply: the object is made, or the fields given are set and owned.
   * @param fields of the top level: `spec`, `data`, `status`
   */
  async apply<T>(
    resource: Resource<T>,
    metadata: ObjectMetadata,
    fields: object,
    { fieldManager, force, subresource }: ApplyOptions,
    signal?: AbortSignal,
  ): Promise<T> {
    const { apiVersion, kind } = resource;
    const path = pathOf(resource, metadata) + (subresource === undefined ? '' : `/${subresource}`);
    const object = { apiVersion, kind, metadata, ...fields };
    const body = { type: 'application/apply-patch+yaml', text: JSON.stringify(object) };
    const query = { fieldManager, force: force === true ? 'true' : undefined };
    return resource.read(await this.#json({ method: 'PATCH', path, query, body, isRepeatable: false }, signal));
  }

  /** What belongs to the object goes with it, in its own time. */
  async delete(resource: Resource<unknown>, name: ObjectName, signal?: AbortSignal): Promise<void> {
    const body = { type: 'application/json', text: JSON.stringify({ propagationPolicy: 'Background' }) };
    await this.#json({ method: 'DELETE', path: pathOf(resource, name), body, isRepeatable: false }, signal);
  }

  /** A call that is none of these: its answer, of which nothing is known. */
  readonly ask = (call: Call, signal?: AbortSignal): Promise<unknown> => this.#json(call, signal);

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #put<T>(
    method: 'POST' | 'PUT',
    path: string,
    resource: Resource<T>,
    metadata: object,
    fields: object,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { apiVersion, kind } = resource;
    const body = { type: 'application/json', text: JSON.stringify({ apiVersion, kind, metadata, ...fields }) };
    return resource.read(await this.#json({ method, path, body, isRepeatable: false }, signal));
  }

  #json(call: Call, signal?: AbortSignal): Promise<unknown> {
    return withCredentials(this.#options.access, signal, () => this.#answer(call, signal));
  }

  async #answer(call: Call, signal?: AbortSignal): Promise<unknown> {
    const { clock, random } = this.#options;
    const timeout = new AbortController();
    const timer = clock.schedule(callMsMax, () => timeout.abort(unavailable(`no answer in ${callMsMax} ms`)));
    const either = signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]);
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          const { body } = await this.#send(call, either);
          return await parsed(body);
        } catch (error) {
          either.throwIfAborted();
          const failure = typed(error);
          const asked = failure instanceof KubernetesError ? failure.retryAfterMs : undefined;
          const pauseMs = asked ?? pauseMsMin * 2 ** (attempt - 1) * (0.5 + random.fraction() / 2);
          const isOver = !call.isRepeatable || attempt === attemptsMax || pauseMs > pauseMsMax;
          if (isOver || !failure.retryable) throw failure;
          await sleep(clock, pauseMs, either);
        }
      }
    } finally {
      timer.cancel();
    }
  }

  /** One attempt: the response of a success, its body unread. */
  async #send({ method, path, query = {}, body }: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { server } = this.#options.access;
    const { headers: authorization, reset } = await authorizationOf(this.#options.access);
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': 'cellmesh', ...authorization };
    if (body !== undefined) headers['content-type'] = body.type;
    const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
    const response = await this.#agent.request({
      origin: server.origin,
      path: `${server.pathname === '/' ? '' : server.pathname}${path}${search}`,
      method,
      headers,
      body: body?.text ?? null,
      reset,
      signal,
    });
    if (response.statusCode < 300) return response;
    const seconds = String(response.headers['retry-after'] ?? '');
    const retryAfterMs = /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1000 : undefined;
    throw refusalOf(response.statusCode, await parsed(response.body).catch(() => undefined), retryAfterMs);
  }
}

/** Whatever was thrown, as one of ours. */
function typed(error: unknown): CellmeshError {
  return isCellmeshError(error) ? error : unavailable(messageOf(error), error);
}

async function parsed(body: AsyncIterable<Buffer>): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    // Leaving the loop closes the connection.
    if (bytes > answerBytesMax)
      throw new CellmeshError(
        'kubernetes_unavailable',
        `an answer of the API server is longer than ${answerBytesMax} bytes`,
      );
    pieces.push(piece);
  }
  return JSON.parse(Buffer.concat(pieces).toString('utf8'));
}

function withoutName({ name: _, ...rest }: ObjectName): Partial<ObjectName> {
  return rest;
}

function selectors({ labelSelector, fieldSelector }: Selection): Record<string, string | undefined> {
  return { labelSelector, fieldSelector };
}
