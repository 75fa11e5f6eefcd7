import { isIP } from 'node:net';
import type { Command } from 'commander';
import { CellmeshError } from '#runtime/errors.ts';
import { type OutputOptions, print } from '../output.ts';
import { type Backend, backends, findBackend, install, remove } from './packet-filter.ts';

interface BackendOptions extends OutputOptions {
  readonly backend?: string;
}

interface InstallOptions extends BackendOptions {
  readonly uid: string;
  readonly outboundPort: string;
  readonly inboundPort?: string;
  readonly openPort: readonly string[];
  readonly exceptTo: readonly string[];
  readonly exceptPort: readonly string[];
}

const each = (value: string, earlier: readonly string[]) => [...earlier, ...value.split(',')];

/** Transparent interception: the application connects to its callees by their own names and ports. */
export function addIntercept(program: Command): void {
  const intercept = program
    .command('intercept')
    .summary('redirect the connections of this network namespace through its sidecar')
    .description(
      'Redirects the connections of this network namespace through its sidecar, with nftables or iptables, for IPv4 and IPv6. Needs CAP_NET_ADMIN; the sidecar itself needs nothing.',
    );
  withBackend(intercept.command('install'))
    .description(
      "Redirects what any user but the sidecar's connects to, to `--intercepted-port` of the sidecar; with --inbound-port, also what comes from outside, to its mTLS port. Replaces what was installed before.",
    )
    .requiredOption('--uid <number>', "the sidecar's user id: no other process may run as it")
    .requiredOption('--outbound-port <port>', "the sidecar's --intercepted-port")
    .option('--inbound-port <port>', "the sidecar's mTLS port; without it connections from outside stay as they are")
    .option('--open-port <port,...>', 'ports that stay open to the outside beside it, for probes and metrics', each, [])
    .option('--except-to <address,...>', 'destinations that stay as they are: 10.1.2.3, 10.0.0.0/8, fd00::/8', each, [])
    .option('--except-port <port,...>', 'ports of destinations that stay as they are', each, [])
    .action(async (options: InstallOptions) => {
      const backend = await backendOf(options);
      const { inboundPort } = options;
      if (inboundPort === undefined && options.openPort.length > 0) {
        throw invalid('--open-port', 'means nothing without --inbound-port: every port is open to the outside');
      }
      await install(backend, {
        uid: wholeNumber('--uid', options.uid, 0, 4_294_967_294),
        outboundPort: port('--outbound-port', options.outboundPort),
        inboundPort: inboundPort === undefined ? undefined : port('--inbound-port', inboundPort),
        openPorts: options.openPort.map((value) => port('--open-port', value)),
        exceptTo: options.exceptTo.map(addressOrPrefix),
        exceptPorts: options.exceptPort.map((value) => port('--except-port', value)),
      });
      print(
        { installed: true, backend },
        () => `connections are redirected (${backend}); \`cellmesh intercept remove\` ends it`,
        options,
      );
    });
  withBackend(intercept.command('remove'))
    .description('Takes away what `install` set up. Without effect where there is nothing.')
    .action(async (options: BackendOptions) => {
      const backend = await backendOf(options);
      await remove(backend);
      print({ removed: true, backend }, () => `nothing is redirected any more (${backend})`, options);
    });
}

function withBackend(command: Command): Command {
  return command
    .option('--backend <name>', `${backends.join(' or ')}; default: the one that is there`)
    .option('--json', 'print JSON');
}

async function backendOf({ backend }: BackendOptions): Promise<Backend> {
  if (backend === undefined) return findBackend();
  const known = backends.find((name) => name === backend);
  if (known === undefined) throw invalid('--backend', `must be ${backends.join(' or ')}`);
  return known;
}

function port(flag: string, value: string): number {
  return wholeNumber(flag, value, 1, 65_535);
}

function wholeNumber(flag: string, value: string, min: number, max: number): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw invalid(flag, `must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`);
}

function addressOrPrefix(value: string): string {
  const [address, length, ...rest] = value.split('/');
  const family = isIP(address!);
  const isLength = length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128));
  if (family !== 0 && isLength && rest.length === 0 && !address!.includes('%')) return value;
  throw invalid('--except-to', `must be an address or a prefix, not ${JSON.stringify(value)}`);
}

function invalid(flag: string, problem: string): CellmeshError {
  return new CellmeshError('config_invalid', `${flag} ${problem}`);
}
