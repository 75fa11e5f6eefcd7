import { durationText } from '#runtime/duration.ts';
import type { CallRoute } from '../call-traffic.ts';
import type { DeclaredCall, ServicePolicy } from '../manifest.ts';
import { workloadText } from '../workload-name.ts';
import { added, type Change, changed, changedSet, changedWithin, removed, setText } from './change.ts';

/** Calls that are declared, are not any more, or bring and do something else. */
export function callChanges(before: ServicePolicy, after: ServicePolicy): Change[] {
  const [old, now] = [before, after].map(
    ({ calls }) => new Map(calls.map(({ value }) => [workloadText(value.to), value])),
  );
  const changes = [...now!].flatMap(([callee, call]) => {
    const was = old!.get(callee);
    return was === undefined
      ? [added(whatOf(callee), callText(call))]
      : changedWithin(whatOf(callee), fieldChanges(was, call));
  });
  const gone = [...old!].filter(([callee]) => !now!.has(callee));
  return [...changes, ...gone.map(([callee, call]) => removed(whatOf(callee), callText(call)))];
}

function whatOf(callee: string): string {
  return `call to ${callee}`;
}

function fieldChanges(before: DeclaredCall, after: DeclaredCall): Change[] {
  return [
    ...changedSet('carry', before.carry, after.carry, 'all that is left'),
    ...changedSet('own', before.own, after.own),
    ...changed('token', before.token, after.token, () => (after.token === 'propagate' ? 'wider' : 'narrower')),
    ...changed('listen', listenText(before), listenText(after)),
    ...changed('time-outs and retries', trafficText(before), trafficText(after)),
  ];
}

function callText(call: DeclaredCall): string {
  const { carry, own, token, listen } = call;
  const parts = [
    token === 'none' ? 'no customer' : `carry ${carry === undefined ? 'all that is left' : setText(carry)}`,
    own.length > 0 && `own ${setText(own)}`,
    listen && `listen ${listenText(call)}`,
    (call.routes.length > 0 || call.connectMs !== undefined) && trafficText(call),
  ];
  return parts.filter((part) => part).join('; ');
}

function listenText({ listen }: DeclaredCall): string {
  if (listen === undefined) return 'none';
  return listen.host.includes(':') ? `[${listen.host}]:${listen.port}` : `${listen.host}:${listen.port}`;
}

function trafficText({ connectMs, routes }: DeclaredCall): string {
  const parts = [...(connectMs === undefined ? [] : [`connect ${durationText(connectMs)}`]), ...routes.map(routeText)];
  return parts.join('; ') || "the sidecar's settings";
}

function routeText({ port, methods, paths, timeouts, retries }: CallRoute): string {
  const match = [
    ...(methods ?? []),
    ...(paths ?? []).map(({ text }) => text),
    ...(port === undefined ? [] : [`port ${port}`]),
  ];
  const times = Object.entries(timeouts).map(([name, ms]) => `${name.replace(/Ms$/, '')} ${durationText(ms)}`);
  const again =
    retries &&
    `${retries.attempts} attempts on ${[...(retries.onReset ? ['reset'] : []), ...retries.statuses].join(', ')}`;
  const said = [...times, ...(again ? [again] : [])].join(', ') || 'nothing of its own';
  return match.length === 0 ? said : `${match.join(' ')}: ${said}`;
}
