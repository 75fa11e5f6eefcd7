import { join, relative } from 'node:path';
import { type Installation, type ServicePlan, stateDirDefault } from '../installation.ts';
import { table } from '../output.ts';
import type { StartedCell } from './start-cell.ts';

/** What runs where, and commands to paste into another terminal. */
export function describeCell(installation: Installation, started: StartedCell): string {
  const { services, router, controlPlane, identity, policyDir, logsDir } = installation;
  const pidOf = (name: string) => String(started.processes.find(({ spec }) => spec.name === name)?.pid ?? '-');
  const rows = [
    ['router', pidOf('router'), `https://localhost:${router.listen.port}`, `health ${router.health.port}`],
    ['identity', pidOf('identity'), `gRPC ${identity.listen.port}`, `health, JWKS ${identity.health.port}`],
    ['control-plane', pidOf('control-plane'), `gRPC ${controlPlane.listen.port}`, `health ${controlPlane.health.port}`],
    ...services.flatMap((service) => serviceRows(service, pidOf)),
  ];
  return `
${table(['PROCESS', 'PID', 'SERVES', ''], rows)}

Paste into a second terminal:

${commands(installation, started)}

The policy in force lies in ${relative(process.cwd(), policyDir)}: change it and see. Logs lie in ${relative(process.cwd(), logsDir)}.
Decisions follow; Ctrl-C ends everything.
`;
}

function commands({ services, router, stateDir }: Installation, { demo, edgeAuthority }: StartedCell): string {
  const state = relative(process.cwd(), stateDir) || '.';
  const flag = state === stateDirDefault ? '' : ` --state ${state}`;
  const token = join(state, 'token.jwt');
  const [all, reading] = demo.keys;
  const curl = (key: { secret: string }) =>
    `curl -i --cacert ${relative(process.cwd(), edgeAuthority)} -u ${demo.accountId}:${key.secret}`;
  const url = `https://localhost:${router.listen.port}/v1/messages`;
  const body = `-d '{"to":"+15550100","text":"hello"}'`;
  const named = (name: string) => services.find((service) => service.name === name)!;
  return `# A customer's call: router -> api -> messaging -> delivery -> carrier, each behind its own sidecar
${curl(all!)} ${url} ${body}

# The same with a key that may only read: 403 scope_missing
${curl(reading!)} ${url} ${body}

# What becomes of the message, as it happens: \`carrier\` tells \`delivery\` in a stream of gRPC
${curl(all!)} -N ${url}/<id of a message>/events

# The same with the key that may only read messages: \`carrier\`'s sidecar refuses the method: 403 scope_missing
${curl(reading!)} ${url}/<id of a message>/events

# \`messaging\` speaks TCP with \`store\`, by a port that its sidecar holds open
printf 'SET greeting hello\\nGET greeting\\nQUIT\\n' | curl -s telnet://127.0.0.1:${named('messaging').callee!.listen.port}

# \`delivery\` has no business there; its sidecar says so: 403 not_declared
echo QUIT | curl -sS -D - -px http://127.0.0.1:${named('delivery').outbound.port} telnet://store:${named('store').application.port}

# A customer who may call deliveries back; \`messaging\` may not take that scope along: 403 scope_not_carried
${curl(all!)} -X DELETE ${url}/<id of a message>

# \`delivery\` presents a customer's token that it got hold of to \`messaging\`: 403 peer_not_allowed
./cellmesh token mint${flag} > ${token}
./cellmesh call${flag} --as messaging/delivery --token ${token} http://messaging/messages/1

# A token for another cell: 421 wrong_cell
./cellmesh token mint${flag} --cell cell-2 > ${token}
./cellmesh call${flag} --as router --token ${token} http://api/v1/messages/1

# Why? The id is the header \`cellmesh-decision\` of every answer
./cellmesh explain${flag} <decision-id>`;
}

function serviceRows(
  { name, protocol, callee, application, inbound, outbound, health }: ServicePlan,
  pidOf: (name: string) => string,
) {
  const calls = `calls ${outbound.port}${callee === undefined ? '' : `, to ${callee.name} ${callee.listen.port}`}`;
  return [
    [name, pidOf(name), `${protocol === 'grpc' ? 'gRPC' : protocol} ${application.port}`, ''],
    [`  ${name}-sidecar`, pidOf(`${name}-sidecar`), `mTLS ${inbound.port}, ${calls}`, `health ${health.port}`],
  ];
}
