import type { DescMethod } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Secret } from '#runtime/secret.ts';
import type { Caller } from './caller.ts';
import { rpcName } from './grpc-bridge.ts';
import { bearerTokenOf, type OperatorAuthenticator, takesTokens, tokenCharactersMax } from './operator-token.ts';
import { type RateClass, type RpcRule, rateClasses } from './rpc-table.ts';

/** Port: limits how often one key may do something of a class. Returns 0, or how many milliseconds to wait. */
interface CallRateLimiter {
  take(rateClass: RateClass, key: string): number;
}

export interface AdmissionOptions {
  readonly rateLimiter: CallRateLimiter;
  readonly logger: Logger;
  /** Absent: nobody is known by a token. */
  readonly operators?: OperatorAuthenticator | undefined;
}

interface Admitted {
  readonly caller: Caller;
  /** Whether it still may: by a token, which ends on its own and is not of a connection. Rejects when it may not. */
  readonly askAgain?: () => Promise<unknown>;
}

/** An operator who loses a right loses streams within this. */
const askAgainMs = 60_000;

/**
 * Whether a caller may make this call now. At once for whoever is known by the connection.
 * @throws CellmeshError `rpc_denied`, `rpc_rate_limited`, `rpc_unavailable`; thrown at once, or by the promise
 */
export function admit(
  method: DescMethod,
  rule: RpcRule,
  { caller, metadata }: { readonly caller: Caller | undefined; readonly metadata: Metadata },
  options: AdmissionOptions,
): Admitted | Promise<Admitted> {
  if (caller === undefined)
    throw new CellmeshError('rpc_unavailable', 'the connection is closing', { retryable: true });
  const token = takesTokens(rule) ? bearerTokenOf(metadata) : undefined;
  if (token !== undefined) return admitByToken(method, rule, caller, token, options);
  return { caller: admitByConnection(method, rule, caller, options) };
}

/** Holds a stream open for as long as `askAgain` resolves; then `end` hears why not. */
export function holdOpen(
  call: { on(event: 'close' | 'cancelled', handler: () => void): unknown },
  askAgain: () => Promise<unknown>,
  end: (error: unknown) => void,
  clock: Clock,
): void {
  let timer: Scheduled | undefined;
  let isOver = false;
  const later = () => {
    if (!isOver) timer = clock.schedule(askAgainMs, () => void askAgain().then(later, end));
  };
  const stop = () => {
    isOver = true;
    timer?.cancel();
  };
  call.on('close', stop);
  call.on('cancelled', stop);
  later();
}

function admitByConnection(method: DescMethod, rule: RpcRule, caller: Caller, options: AdmissionOptions): Caller {
  if (!rule.callers.includes(caller.kind)) {
    throw refused(method, rule, caller, options, {
      reason: `${caller.peer?.id ?? 'an anonymous caller'} does not have it`,
    });
  }
  takeRate(method, rule.rate, caller.peer?.id ?? caller.address, options);
  record(method, rule, caller, options);
  return caller;
}

async function admitByToken(
  method: DescMethod,
  rule: RpcRule,
  caller: Caller,
  token: Secret<string> | 'malformed',
  options: AdmissionOptions,
): Promise<Admitted> {
  const { operators } = options;
  const deny = (reason: string, told?: Readonly<Record<string, string>>) =>
    refused(method, rule, caller, options, { reason, ...(told && { told }) });
  if (token === 'malformed')
    throw deny(`the metadata \`authorization\` is not one bearer token of at most ${tokenCharactersMax} characters`);
  // Who calls would be a matter of which of the two is looked at.
  if (caller.kind !== 'anonymous') throw deny('a call shows a certificate or a token, not both');
  if (operators === undefined) throw deny('tokens are not taken here, since it was started without --kubernetes');
  takeRate(method, 'token', caller.address, options);
  const ask = async () => {
    const verdict = await operators.authorize(token, rule.permission);
    if (!verdict.isAllowed) throw deny(verdict.reason, verdict.told);
    return verdict.name;
  };
  const admitted: Caller = { ...caller, kind: 'admin', operator: await ask() };
  takeRate(method, rule.rate, `token ${admitted.operator}`, options);
  record(method, rule, admitted, options);
  return { caller: admitted, askAgain: ask };
}

interface Refusal {
  readonly reason: string;
  readonly told?: Readonly<Record<string, string>>;
}

function refused(
  method: DescMethod,
  { permission }: RpcRule,
  { kind, peer, address }: Caller,
  { logger }: AdmissionOptions,
  { reason, told }: Refusal,
): CellmeshError {
  const rpc = rpcName(method);
  logger.warn('call refused', { rpc, caller: kind, peer: peer?.id, address, permission, reason, ...told });
  return new CellmeshError('rpc_denied', `${rpc} needs the permission ${permission}: ${reason}`);
}

function takeRate(method: DescMethod, rate: RpcRule['rate'], key: string, { rateLimiter }: AdmissionOptions): void {
  const waitMs = rateLimiter.take(rateClasses[rate], `${rate} ${key}`);
  if (waitMs === 0) return;
  throw new CellmeshError(
    'rpc_rate_limited',
    `too many calls of ${rpcName(method)}; try again in ${Math.ceil(waitMs)} ms`,
    {
      retryable: true,
    },
  );
}

function record(
  method: DescMethod,
  rule: RpcRule,
  { kind, peer, operator, address }: Caller,
  { logger }: AdmissionOptions,
): void {
  if (rule.isAudited) logger.info('call', { rpc: rpcName(method), caller: kind, peer: peer?.id, operator, address });
}
