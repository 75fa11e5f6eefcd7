import type { HttpProbe } from '#api/recorded-probes.ts';
import { dialUnverified } from '#net/dial-unverified.ts';
import type { Clock } from '#runtime/clock.ts';
import { connectPlain } from '#wire/connect-plain.ts';
import { fieldLine } from '#wire/field-lines.ts';
import { type Answer, ask } from './ask.ts';

/** Of the kubelet. */
const redirectsMax = 10;
/** The engine's own to write, and not a probe's. */
const engineFields: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer'],
  ...['upgrade', 'keep-alive', 'proxy-connection', 'expect'],
]);

type Target = Pick<HttpProbe, 'scheme' | 'port' | 'path'>;

/**
 * Asks as the kubelet does: a redirect on the same host is followed, one to another host is an answer.
 * @throws WireError; the signal's reason
 */
export async function askHttp(probe: HttpProbe, host: string, clock: Clock, signal: AbortSignal): Promise<Answer> {
  let target: Target = probe;
  for (let redirects = 0; ; redirects++) {
    const answer = await askOnce(probe, target, host, clock, signal);
    const next = redirects < redirectsMax ? redirected(answer, target, probe, host) : undefined;
    if (next === undefined) return answer;
    target = next;
  }
}

function askOnce(probe: HttpProbe, target: Target, host: string, clock: Clock, signal: AbortSignal): Promise<Answer> {
  const { scheme, port, path } = target;
  const fields = new Map([
    ['user-agent', 'kube-probe'],
    ['accept', '*/*'],
  ]);
  for (const [name, value] of probe.headers) fields.set(name.toLowerCase(), value);
  const lines = [...fields].filter(([name]) => !engineFields.has(name)).map(([name, value]) => fieldLine(name, value));
  const connect = scheme === 'https' ? dialUnverified : connectPlain;
  return ask(
    {
      upstream: { key: 'application', connect: (ended) => connect(host, port, AbortSignal.any([ended, signal])) },
      request: {
        method: 'GET',
        target: path,
        authority: authorityOf(probe, target, host),
        fields: lines.join(''),
        framing: 'none',
        contentLength: -1,
        expectsContinue: false,
        acceptsTrailers: false,
        responseHeadMs: probe.timeoutMs,
      },
      body: Buffer.alloc(0),
      wantsBody: probe.isRelayed,
    },
    clock,
    signal,
  );
}

function authorityOf({ headers }: HttpProbe, { port }: Target, host: string): string {
  const named = headers.find(([name]) => name.toLowerCase() === 'host')?.[1];
  return named || (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
}

function redirected({ head }: Answer, target: Target, probe: HttpProbe, host: string): Target | undefined {
  const location = head.status >= 300 && head.status < 400 ? head.find('location') : undefined;
  if (location === undefined) return undefined;
  const base = `${target.scheme}://${authorityOf(probe, target, host)}${target.path}`;
  if (!URL.canParse(location, base)) return undefined;
  const { protocol, hostname, port, pathname, search } = new URL(location, base);
  if (hostname !== new URL(base).hostname || !/^https?:$/.test(protocol)) return undefined;
  const scheme = protocol === 'https:' ? 'https' : 'http';
  // A host that the probe names says nothing about the port that was asked.
  const isRelative = !/^[a-z]+:|^\/\//i.test(location);
  const ownPort = Number(port) || (scheme === 'https' ? 443 : 80);
  return { scheme, port: isRelative ? target.port : ownPort, path: pathname + search };
}
