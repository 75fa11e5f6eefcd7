import type { CallContext } from '#policy/decide-outbound.ts';
import { type AccountId, isAccountId } from '#tokens/account-id.ts';
import { fieldIds, specialFieldNames } from '#wire/field-names.ts';
import type { RequestHead } from '#wire/message.ts';
import type { HandleTable } from './handles.ts';
import { Refused } from './refusal.ts';
import type { RequestTrace } from './request-trace.ts';

/** What an application says about a call of its own. */
interface Intent {
  readonly context: CallContext;
  /** `cellmesh-as: self`: the workload calls for itself, whatever request it is serving. */
  readonly isSelf: boolean;
  readonly expectedAccount: AccountId | undefined;
}

const { 'cellmesh-context': contextId, 'cellmesh-as': asId, 'cellmesh-expect-account': accountId } = fieldIds;

/**
 * Which request caused this call? `cellmesh-context` says so outright; otherwise the handle that came back in `tracestate`.
 * @throws Refused `field_malformed`
 */
export function intentOf(request: RequestHead, trace: RequestTrace, handles: HandleTable, nowMs: number): Intent {
  const handle = single(request, contextId) ?? trace.handle;
  const as = single(request, asId);
  if (as !== undefined && as !== 'self')
    throw new Refused('field_malformed', 'context', 'cellmesh-as: self', 'another value');
  const account = single(request, accountId);
  if (account !== undefined && !isAccountId(account)) {
    throw new Refused('field_malformed', 'context', 'an account in cellmesh-expect-account', 'another value');
  }
  return { context: contextOf(handle, handles, nowMs), isSelf: as === 'self', expectedAccount: account };
}

const absent: CallContext = { tag: 'absent' };

function contextOf(handle: string | undefined, handles: HandleTable, nowMs: number): CallContext {
  return handle === undefined ? absent : handles.find(handle, nowMs);
}

/** These fields choose whose rights a call has: two of them are a mistake or an attack, and neither is guessed at. */
function single(request: RequestHead, id: number): string | undefined {
  const value = request.fieldById(id);
  if (value !== undefined && request.countById(id) > 1) {
    throw new Refused('field_malformed', 'context', `one ${specialFieldNames[id - 1]}`, 'several');
  }
  return value;
}
