import type { InboundPolicy } from '#policy/decide-inbound.ts';
import { claimsOf, type DecisionRecord } from '#policy/decision-record.ts';
import type { InboundRequest } from '#policy/rule.ts';

/** Decides a request as a sidecar does, and writes down what it does of that. */
export function decidedRecord(policy: InboundPolicy, request: InboundRequest, n = 1): DecisionRecord {
  const decision = policy.decide(request);
  const { service, version } = { ...policy.snapshot, service: policy.snapshot.service.name };
  const { token, left, peer, port, method, path } = request;
  const denial = decision.outcome === 'deny' ? decision : decision.audited;
  return {
    schema: 2,
    id: `${service.replace('/', '-')}.${String(n).padStart(9, '0')}`,
    time: new Date(request.nowMs).toISOString(),
    direction: 'inbound',
    instance: service.replace('/', '-'),
    outcome: decision.outcome,
    status: decision.outcome === 'permit' ? 200 : 403,
    ...{ peer, service, port, method, path, policyVersion: version },
    ...(left !== undefined && { left: left.text }),
    ...(token !== undefined && { claims: claimsOf(token, policy.claimPointers) }),
    ...(token?.account !== undefined && { account: token.account }),
    ...(decision.outcome === 'permit' && { granted: decision.granted.text }),
    ...(decision.outcome === 'permit' && decision.rule !== undefined && { rule: decision.rule }),
    ...(decision.outcome === 'permit' && denial !== undefined && { isAudited: true }),
    ...(denial !== undefined && { reason: denial.reason, failed: denial.failed }),
  };
}
