import type { Command } from 'commander';
import { CellmeshError, messageOf } from '#runtime/errors.ts';

/** A request as flags. */
export interface RequestOptions {
  readonly request?: string;
  readonly from?: string;
  readonly to?: string;
  readonly port?: string;
  readonly host?: string;
  readonly method?: string;
  readonly path?: string;
  readonly grpc?: string;
  readonly tcp?: boolean;
  readonly scopes?: string;
  readonly left?: string;
  readonly account?: string;
  readonly sub?: string;
  readonly actor?: string;
  readonly claims?: string;
  readonly self?: boolean;
  readonly expectAccount?: string;
  readonly time?: string;
}

export function addRequestOptions(command: Command): Command {
  return command
    .option('--request <yaml>', 'a request as cases have it: {from: router, to: messaging/api, ...}')
    .option('--from <caller>', 'or by flags: namespace/service-account, router, unmeshed, or a SPIFFE ID')
    .option('--to <callee>', 'namespace/service-account')
    .option('--port <number>', 'a port of the callee (default: its first)')
    .option('--host <host>', "from a router: the host of the customer's request")
    .option('--method <method>', 'of HTTP')
    .option('--path <path>', 'of HTTP')
    .option('--grpc <method>', 'in place of both: package.Service/Method')
    .option('--tcp', 'in place of both: a connection')
    .option('--scopes <scopes>', "the token's, with spaces between; without it there is no customer")
    .option('--left <scopes>', 'what hops before have left (default: all of the token)')
    .option('--account <account>', 'of the token')
    .option('--sub <subject>', 'of the token')
    .option('--actor <subject>', '`act.sub` of the token')
    .option('--claims <json>', 'what else the token says')
    .option('--self', 'the workload calls for itself')
    .option('--expect-account <account>', '`cellmesh-expect-account`')
    .option('--time <when>', 'RFC 3339 in UTC (default: now)');
}

/**
 * The request that flags mean, as text that is read like one of a case; undefined where they mean none.
 * @throws CellmeshError `config_invalid`
 */
export function requestText(options: RequestOptions): { readonly text: string; readonly isWhole: boolean } | undefined {
  const { from, to, port, host, method, path, grpc, tcp, self, expectAccount, time } = options;
  const token = tokenOf(options);
  const fields = {
    ...{ from, to, host, method, path, grpc, tcp, token, expectAccount, time },
    port: port === undefined || !/^\d+$/.test(port) ? port : Number(port),
    as: self ? 'self' : undefined,
  };
  const isGiven = Object.values(fields).some((value) => value !== undefined);
  if (options.request === undefined) return isGiven ? { text: JSON.stringify(fields), isWhole: false } : undefined;
  if (isGiven) throw new CellmeshError('config_invalid', '--request says all of a request; leave the other flags out');
  return { text: options.request, isWhole: true };
}

function tokenOf({ scopes, left, account, sub, actor, claims }: RequestOptions): Record<string, unknown> | undefined {
  const token = {
    ...{ scopes: scopes === undefined ? undefined : list(scopes), left: left === undefined ? undefined : list(left) },
    ...{ account, sub, act: actor === undefined ? undefined : { sub: actor } },
    claims: claims === undefined ? undefined : jsonOf(claims),
  };
  return Object.values(token).some((value) => value !== undefined) ? token : undefined;
}

function list(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CellmeshError('config_invalid', `--claims is no JSON: ${messageOf(cause)}`, { cause });
  }
}
