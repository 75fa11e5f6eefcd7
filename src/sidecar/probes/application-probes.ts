import type { GrpcProbe, RecordedProbe, RecordedProbes } from '#api/recorded-probes.ts';
import type { Clock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { json, type LocalRoutes } from '#runtime/local-server.ts';
import { connectPlain } from '#wire/connect-plain.ts';
import { fieldLines } from '#wire/field-lines.ts';
import { ask } from './ask.ts';
import { askHttp } from './ask-http.ts';
import { healthCheckPath, healthCheckRequest, isServing } from './grpc-health.ts';

interface ApplicationProbesOptions {
  readonly probes: RecordedProbes;
  /** Loopback address of the application. */
  readonly host: string;
  readonly clock: Clock;
}

type LocalAnswer = Awaited<ReturnType<LocalRoutes>>;

/**
 * Answers, on the health port, what the kubelet and Prometheus would ask the application, which only this sidecar reaches: by asking it. What was
 * recorded is asked, and nothing else; a request brings no part of it.
 */
export function applicationProbes({ probes, host, clock }: ApplicationProbesOptions): LocalRoutes {
  return async (path) => {
    const probe = probes.get(path);
    if (probe === undefined) return undefined;
    const abort = new AbortController();
    const timer = clock.schedule(probe.timeoutMs, () => abort.abort(new TimedOut(probe.timeoutMs)));
    try {
      return await answerOf(probe, host, clock, abort.signal);
    } catch (error) {
      return json(error instanceof TimedOut ? 504 : 503, { error: messageOf(error) });
    } finally {
      timer.cancel();
    }
  };
}

class TimedOut extends Error {
  constructor(timeoutMs: number) {
    super(`the application did not answer in ${timeoutMs} ms`);
  }
}

async function answerOf(probe: RecordedProbe, host: string, clock: Clock, signal: AbortSignal): Promise<LocalAnswer> {
  switch (probe.kind) {
    case 'http': {
      const { head, body } = await askHttp(probe, host, clock, signal);
      if (!probe.isRelayed)
        return head.status < 400 ? answered(head.status) : json(head.status, { status: head.status });
      return { status: head.status, contentType: head.find('content-type') ?? 'text/plain', body: body.toString() };
    }
    case 'tcp': {
      const socket = await connectPlain(host, probe.port, signal);
      socket.on('error', () => {}).destroy();
      return json(200, { connected: true });
    }
    case 'grpc':
      return await askGrpc(probe, host, clock, signal);
  }
}

/** What the kubelet takes for success is one here: it would follow a redirect to this port. */
function answered(status: number): LocalAnswer {
  return json(200, { status });
}

async function askGrpc({ port, service }: GrpcProbe, host: string, clock: Clock, signal: AbortSignal) {
  const body = healthCheckRequest(service);
  const connect = (ended: AbortSignal) => connectPlain(host, port, AbortSignal.any([ended, signal]));
  const request = {
    method: 'POST',
    target: healthCheckPath,
    authority: `${host}:${port}`,
    fields: fieldLines({ 'content-type': 'application/grpc', 'user-agent': 'kube-probe' }),
    framing: 'length',
    contentLength: body.length,
    expectsContinue: false,
    acceptsTrailers: true,
  } as const;
  const upstream = { key: 'application', protocol: 'h2', connect } as const;
  const answer = await ask({ upstream, request, body, wantsBody: true }, clock, signal);
  const status = answer.head.find('grpc-status') ?? /^grpc-status: *(\d+)/im.exec(answer.trailers)?.[1] ?? 'none';
  const isWell = answer.head.status === 200 && status === '0' && isServing(answer.body);
  return json(isWell ? 200 : 503, { serving: isWell, grpcStatus: status });
}
