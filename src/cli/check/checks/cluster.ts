import { manifestSchema } from '#policy/manifest-schema.ts';
import { distance } from '../../output.ts';
import {
  type Check,
  counted,
  type Finding,
  fail,
  inCluster,
  known,
  ok,
  orElse,
  unknown,
  warn,
} from '../check-definition.ts';
import type { ClusterFacts, DefinitionFacts, LeaseFacts, TrialFacts, WebhookFacts } from '../cluster-facts.ts';
import type { Fact } from '../facts.ts';

const minorMin = 29;
const versionWanted = 'v1alpha1';
const replicasMin = 2;
const skewWarnMs = 30_000;
/** A kubelet renews every ten seconds. */
const nodeSilenceWarnMs = 60_000;
const webhookSecondsMax = 10;

const blocked = 'Webhooks that wedge a cluster, or let pods run unmeshed';
const away = 'Authorities that are away when they are needed';
const look = 'see that you may read this: `kubectl auth can-i`';

export const clusterChecks: readonly Check[] = [
  ofCluster(
    'kubernetes-version',
    'Is the API server new enough for native sidecars?',
    'Sidecars that start late and end late',
    'serverVersion',
    judgeServerVersion,
  ),
  ofCluster(
    'crds',
    'Are the definitions of our objects there, and of this version?',
    'Fields that an older version does not see',
    'definitions',
    (definitions) =>
      orElse(definitions.flatMap(judgeDefinition), `${counted(definitions.length, 'definition')} of ${versionWanted}`),
  ),
  ofCluster('replicas', 'Are the replicas of the control plane ready?', away, 'deployment', judgeDeployment),
  ofCluster(
    'disruption-budget',
    'Does one replica stay when nodes are drained?',
    away,
    'hasDisruptionBudget',
    (isThere) =>
      isThere
        ? [ok('there is a PodDisruptionBudget')]
        : [warn('the control plane has no PodDisruptionBudget', install)],
  ),
  {
    ...{ id: 'leader', group: 'cluster', places: ['cluster'], pain: away },
    question: 'Does one replica lead?',
    judge: inCluster(({ lease }, { nowMs }) => known(lease, look, (found) => judgeLease(found, nowMs))),
  },
  ofCluster('rights', 'May the control plane do what it is for?', away, 'rights', (rights) =>
    orElse(
      rights
        .filter(({ isAllowed }) => !isAllowed)
        .map(({ what }) => fail(`the service account of the control plane may not ${what}`, install)),
      `the service account of the control plane has ${counted(rights.length, 'right')} that it needs`,
    ),
  ),
  ofCluster(
    'webhooks',
    'Are the webhooks there, and do they fail closed on what has opted in?',
    blocked,
    'webhooks',
    (webhooks) => orElse(webhooks.flatMap(judgeWebhook), `${counted(webhooks.length, 'webhook')} that fail closed`),
  ),
  {
    ...{ id: 'webhook-authority', group: 'cluster', places: ['cluster'], pain: blocked },
    question: 'Does the API server trust the roots of the cell for the webhooks?',
    judge: inCluster(judgeAuthority),
  },
  ofCluster('webhook-answers', 'Does a new pod get its sidecar?', blocked, 'trial', judgeTrial),
  {
    ...{ id: 'node-clocks', group: 'cluster', places: ['cluster'], pain: 'Certificates that are not valid yet' },
    question: 'Do the clocks of the nodes agree with this one?',
    judge: inCluster(({ nodes }, { nowMs }) =>
      known(nodes, look, (found) =>
        orElse(
          found.flatMap(({ name, renewedMs }) => judgeNode(name, renewedMs - nowMs)),
          `${counted(found.length, 'node')} within ${skewWarnMs / 1000} s, by their leases`,
        ),
      ),
    ),
  },
];

const install = '`cellmesh install` makes it as it should be';

function ofCluster<K extends keyof ClusterFacts>(
  id: string,
  question: string,
  pain: string,
  key: K,
  judge: (value: ClusterFacts[K] extends Fact<infer T> ? T : never) => readonly Finding[],
): Check {
  return {
    ...{ id, group: 'cluster', places: ['cluster'], question, pain },
    judge: inCluster((cluster) => known(cluster[key] as Fact<Parameters<typeof judge>[0]>, look, judge)),
  };
}

function judgeServerVersion(version: string): readonly Finding[] {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  if (minor === undefined) return [unknown(`the API server calls itself ${JSON.stringify(version)}`, look)];
  if (Number(major) > 1 || Number(minor) >= minorMin) return [ok(`Kubernetes ${version}`)];
  return [fail(`Kubernetes ${version} has no native sidecars`, `upgrade the cluster to 1.${minorMin} at least`)];
}

function judgeDefinition({ name, found }: DefinitionFacts): readonly Finding[] {
  const mend = 'apply the definitions of this version: `kubectl apply --server-side -f k8s/crds`';
  if (found === undefined) return [fail(`${name} is not there`, mend)];
  if (!found.isEstablished) return [fail(`${name} is not established: the API server does not serve it`, mend)];
  if (!found.served.includes(versionWanted)) return [fail(`${name} does not serve ${versionWanted}`, mend)];
  const missing = fieldsOf(name).filter((field) => !found.specFields.includes(field));
  if (missing.length === 0) return [];
  return [warn(`${name} is of an older version: it drops ${missing.map((one) => `spec.${one}`).join(', ')}`, mend)];
}

/** Of `spec`, as this program reads it. */
function fieldsOf(definition: string): readonly string[] {
  const kind = definition.startsWith('cells.') ? 'Cell' : 'ServicePolicy';
  const schema = manifestSchema().oneOf?.find(({ title }) => title === kind);
  return Object.keys(schema?.properties?.['spec']?.properties ?? {});
}

function judgeDeployment(deployment: { wanted: number; ready: number } | undefined): readonly Finding[] {
  const see = '`kubectl describe` its pods, and see their logs';
  if (deployment === undefined)
    return [
      fail(
        'there is no Deployment cellmesh-control-plane in the namespace',
        `${install}; another namespace: --namespace`,
      ),
    ];
  const { wanted, ready } = deployment;
  const what = `${ready} of ${counted(wanted, 'replica')} ready`;
  if (ready === 0) return [fail(what, see)];
  if (ready < wanted) return [warn(what, see)];
  return [
    wanted < replicasMin
      ? warn(`${what}: nobody admits pods while it is away`, `run ${replicasMin} at least`)
      : ok(what),
  ];
}

function judgeLease(lease: LeaseFacts | undefined, nowMs: number): readonly Finding[] {
  const mend = 'see the logs of the replicas: whether they reach the API server, and may update the Lease';
  if (lease === undefined || lease.holder === '') return [fail('nobody holds the Lease cellmesh-control-plane', mend)];
  const { holder, renewedMs, durationMs } = lease;
  const age = `${holder} leads, and renewed its Lease ${distance(renewedMs, nowMs)}`;
  if (nowMs - renewedMs > durationMs + skewWarnMs) return [fail(`${age}: nobody leads any more`, mend)];
  if (nowMs - renewedMs > durationMs || renewedMs - nowMs > skewWarnMs)
    return [
      warn(
        `${age}: it is late, or clocks differ`,
        'synchronise the clocks of nodes and this machine (NTP), and see the logs',
      ),
    ];
  return [ok(`${holder} leads`)];
}

function judgeWebhook({ configuration, found }: WebhookFacts): readonly Finding[] {
  if (found === undefined) return [fail(`${configuration} is not there, or without our webhook`, install)];
  const { failurePolicy, optInLabel, timeoutSeconds, authorities } = found;
  const isInjector = configuration === 'cellmesh-injector';
  return [
    ...(failurePolicy === 'Fail'
      ? []
      : [fail(`${configuration} has failurePolicy ${failurePolicy}: while it is away everything passes`, install)]),
    ...(authorities.length === 0
      ? [
          fail(
            `${configuration} has no caBundle that can be read: the API server cannot call it`,
            'see the log of whoever holds the Lease',
          ),
        ]
      : []),
    ...(!isInjector || optInLabel === 'enabled'
      ? []
      : [
          fail(
            `${configuration} is not bound to namespaces that have opted in: it can stop pods of the cluster itself`,
            install,
          ),
        ]),
    ...(timeoutSeconds <= webhookSecondsMax ? [] : [warn(`${configuration} may take ${timeoutSeconds} s`, install)]),
  ];
}

function judgeAuthority({ webhooks, roots }: ClusterFacts): readonly Finding[] {
  return known(roots, 'see the check `trust-bundle-maps`', (expected) =>
    known(webhooks, look, (all) =>
      orElse(
        all.flatMap(({ configuration, found }) =>
          found === undefined || expected.every(({ der }) => found.authorities.some((one) => one.der === der))
            ? []
            : [
                fail(
                  `caBundle of ${configuration} lacks a root of the cell`,
                  'the holder of the Lease writes it: see the check `leader`, and its log',
                ),
              ],
        ),
        `caBundle holds the ${counted(expected.length, 'root')} of the cell`,
      ),
    ),
  );
}

function judgeTrial(trial: TrialFacts | undefined): readonly Finding[] {
  if (trial === undefined)
    return [warn('no namespace has opted in, so it could not be tried', 'see the check `namespaces`')];
  const { namespace, outcome } = trial;
  if (outcome === 'injected') return [ok(`a pod in ${namespace} would get one`)];
  if (outcome === 'plain')
    return [
      fail(
        `a pod in ${namespace} would get none`,
        'see the check `webhooks`; the label of the namespace must match its namespaceSelector',
      ),
    ];
  return [
    fail(
      `a pod in ${namespace} would be refused: ${outcome.refusal}`,
      'see the checks `replicas` and `webhook-authority`; the API server must reach port 14012',
    ),
  ];
}

function judgeNode(name: string, aheadMs: number): readonly Finding[] {
  const mend = 'synchronise the clocks of the node and this machine (NTP)';
  if (aheadMs > skewWarnMs)
    return [warn(`the clock of ${name} is ${Math.round(aheadMs / 1000)} s ahead of this one, or more`, mend)];
  if (aheadMs < -nodeSilenceWarnMs)
    return [
      warn(
        `${name} renewed its lease ${Math.round(-aheadMs / 1000)} s ago: it is down, or its clock is behind`,
        `see \`kubectl get nodes\`; ${mend}`,
      ),
    ];
  return [];
}
