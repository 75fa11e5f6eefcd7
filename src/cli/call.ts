import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { decodeJwt } from 'jose';
import { readTextFile } from '#certs/private-file.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { dialMtls } from '#net/dial.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type Installation, readInstallation, serviceNamed } from './installation.ts';
import { type StateOptions, withState } from './operator.ts';
import { print } from './output.ts';

interface CallOptions extends StateOptions {
  readonly as: string;
  readonly method: string;
  readonly header: readonly string[];
  readonly data?: string;
  readonly token?: string;
  readonly left?: string;
}

interface Target {
  readonly id: SpiffeId;
  readonly inbound: Address;
  readonly authority: string;
  readonly path: string;
}

const urlPattern = /^http:\/\/([a-z0-9.-]+)(:\d+)?(\/[\x21-\x7e]*)?$/i;
const answerTimeoutMs = 30_000;

/** A debugging client that speaks to a service's sidecar with the identity of any workload of the state directory. */
export function addCall(program: Command): void {
  withState(
    program
      .command('call')
      .summary('call a service with the identity of any workload (for debugging)')
      .description(
        "Calls a service's sidecar over mutual TLS with a workload's own SVID, past that workload's sidecar: what somebody could do who had taken over the sidecar. For debugging and for trying policy out; it reads the SVID from the state directory.",
      )
      .argument('<url>', 'http://<service>[.<namespace>]/<path>; the path is sent as it is written')
      .requiredOption('--as <workload>', 'namespace/service-account, or `router`')
      .option('-X, --method <method>', 'request method', 'GET')
      .option('-H, --header <line>', 'a further field, `name: value`; can be repeated', collect, [])
      .option('-d, --data <body>', 'request body')
      .option('--token <file>', 'file with a token to present; `-` is standard input')
      .option('--left <scopes>', "what to claim is left of the token's scopes (default: all of them)"),
  ).action(async (url: string, options: CallOptions) => {
    const installation = await readInstallation(options.state);
    const target = targetOf(url, installation);
    const headers = { host: target.authority, ...(await tokenHeaders(options)), ...fieldsOf(options.header) };
    const answer = await call(target, svidDirectory(options.as, installation), headers, options);
    print(answer, () => describe(answer), options);
  });
}

interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

async function call(
  { id, inbound, path }: Target,
  directory: string,
  headers: Record<string, string>,
  { method, data }: CallOptions,
): Promise<Answer> {
  const { svid, bundles } = await readSvid(directory, systemClock.now());
  const identity = new WatchSource({ svid, bundles });
  const { socket } = await dialMtls({ ...inbound, identity, expect: id, alpn: ['http/1.1'], clock: systemClock });
  try {
    const signal = AbortSignal.timeout(answerTimeoutMs);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request({ createConnection: () => socket, method, path, headers, signal }, resolve);
      sent.on('error', reject);
      sent.end(data);
    });
    const body = await readText(response);
    return { status: response.statusCode!, statusText: response.statusMessage ?? '', headers: response.headers, body };
  } catch (cause) {
    throw new CellmeshError('upstream_failed', `${id} gave no answer: ${messageOf(cause)}`, { cause });
  } finally {
    socket.destroy();
  }
}

/** @throws CellmeshError `config_invalid`, `not_found` */
function targetOf(url: string, installation: Installation): Target {
  const [, host, port = '', path = '/'] = urlPattern.exec(url) ?? [];
  if (host === undefined) {
    throw new CellmeshError('config_invalid', `${url} is no address of a service: write http://<service>/<path>`);
  }
  const [name, namespace] = host.split('.');
  const { id, inbound } = serviceNamed(installation, namespace === undefined ? name! : `${namespace}/${name}`);
  return { id, inbound, authority: `${host}${port}`, path };
}

function svidDirectory(workload: string, installation: Installation): string {
  const { stateDir } = workload === 'router' ? installation.router : serviceNamed(installation, workload);
  return join(stateDir, 'svid');
}

/** A workload's sidecar says what is left of the token's scopes; a router need not. */
async function tokenHeaders({ token: file, as, left }: CallOptions): Promise<Record<string, string>> {
  if (file === undefined) return {};
  const token = (file === '-' ? await readText(process.stdin) : await readTextFile(file)).trim();
  if (!/^[A-Za-z0-9._-]+$/.test(token)) throw new CellmeshError('config_invalid', `--token: ${file} holds no token`);
  if (as === 'router' && left === undefined) return { 'cellmesh-token': token };
  return { 'cellmesh-token': token, 'cellmesh-left': `1 ${left ?? scopeOf(token)}`.trim() };
}

function scopeOf(token: string): string {
  try {
    return String(decodeJwt(token)['scope'] ?? '');
  } catch {
    return '';
  }
}

function fieldsOf(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*([\t\x20-\x7e]*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined)
        throw new CellmeshError('config_invalid', `--header ${JSON.stringify(line)}: write \`name: value\``);
      return [name.toLowerCase(), value];
    }),
  );
}

function describe({ status, statusText, headers, body }: Answer): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${[value].flat().join(', ')}`);
  return [`HTTP/1.1 ${status} ${statusText}`, ...fields, '', body].join('\n');
}

function collect(line: string, lines: readonly string[]): readonly string[] {
  return [...lines, line];
}
