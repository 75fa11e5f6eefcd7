import { join, relative } from 'node:path';
import { type Installation, type ServicePlan, stateDirDefault } from '../installation.ts';
import { table } from '../output.ts';
import type { StartedCell } from './start-cell.ts';

/** What runs where, and commands to paste into another terminal. */
export function describeCell(installation: Installation, { demo, edgeAuthority, processes }: StartedCell): string {
  const { services, router, controlPlane, identity, policyDir } = installation;
  const pidOf = (name: string) => String(processes.find(({ spec }) => spec.name === name)?.pid ?? '-');
  const rows = [
    ['router', pidOf('router'), `https://localhost:${router.listen.port}`, `health ${router.health.port}`],
    ['identity', pidOf('identity'), `gRPC ${identity.listen.port}`, `health, JWKS ${identity.health.port}`],
    ['control-plane', pidOf('control-plane'), `gRPC ${controlPlane.listen.port}`, `health ${controlPlane.health.port}`],
    ...services.flatMap((service) => serviceRows(service, pidOf)),
  ];
  const state = relative(process.cwd(), installation.stateDir) || '.';
  const flag = state === stateDirDefault ? '' : ` --state ${state}`;
  const [all, reading] = demo.keys;
  const curl = (key: { secret: string }) =>
    `curl -i --cacert ${relative(process.cwd(), edgeAuthority)} -u ${demo.accountId}:${key.secret}`;
  const url = `https://localhost:${router.listen.port}/v1/messages`;
  const body = `-d '{"to":"+15550100","text":"hello"}'`;
  const token = join(state, 'token.jwt');
  return `
${table(['PROCESS', 'PID', 'SERVES', ''], rows)}

Paste into a second terminal:

# A customer's call: router -> api -> messaging -> delivery, each behind its own sidecar
${curl(all!)} ${url} ${body}

# The same with a key that may only read: 403 scope_missing
${curl(reading!)} ${url} ${body}

# A customer who may call deliveries back; \`messaging\` may not take that scope along: 403 scope_not_carried
${curl(all!)} -X DELETE ${url}/<id of a message>

# \`delivery\` presents a customer's token that it got hold of to \`messaging\`: 403 peer_not_allowed
./cellmesh token mint${flag} > ${token}
./cellmesh call${flag} --as messaging/delivery --token ${token} http://messaging/messages/1

# A token for another cell: 421 wrong_cell
./cellmesh token mint${flag} --cell cell-2 > ${token}
./cellmesh call${flag} --as router --token ${token} http://api/v1/messages/1

# Why? The id is the header \`cellmesh-decision\` of every answer
./cellmesh explain${flag} <decision-id>

The policy in force lies in ${relative(process.cwd(), policyDir)}: change it and see. Logs lie in ${relative(process.cwd(), installation.logsDir)}.
Decisions follow; Ctrl-C ends everything.
`;
}

function serviceRows({ name, application, inbound, outbound, health }: ServicePlan, pidOf: (name: string) => string) {
  return [
    [name, pidOf(name), `http ${application.port}`, ''],
    [
      `  ${name}-sidecar`,
      pidOf(`${name}-sidecar`),
      `mTLS ${inbound.port}, calls ${outbound.port}`,
      `health ${health.port}`,
    ],
  ];
}
