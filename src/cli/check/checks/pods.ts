import { sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import {
  type Check,
  counted,
  type Finding,
  fail,
  few,
  inCluster,
  known,
  ok,
  orElse,
  warn,
} from '../check-definition.ts';
import type { ClusterFacts, MeshPod, MeshService } from '../cluster-facts.ts';

import { differing } from './certificates.ts';

const look = 'see that you may list this: `kubectl auth can-i`';
const unmeshed = 'Pods that run unmeshed';

export const podChecks: readonly Check[] = [
  {
    ...{ id: 'namespaces', group: 'pods', places: ['cluster'], pain: unmeshed },
    question: 'Have namespaces opted in?',
    judge: inCluster(({ namespaces }) =>
      known(namespaces, look, (found) =>
        found.length > 0
          ? [ok(found.join(', '))]
          : [warn('none has', 'label one: `kubectl label namespace <name> cellmesh.io/inject=enabled`')],
      ),
    ),
  },
  {
    ...{
      id: 'trust-bundle-maps',
      group: 'pods',
      places: ['cluster'],
      pain: 'A rotation that has reached some only',
    },
    question: 'Does every namespace have the newest trust bundle?',
    judge: inCluster(({ bundles, namespace, roots }, facts) => {
      const own = 'value' in roots ? roots.value.map(({ der }) => der) : undefined;
      const behind = own === undefined ? [] : differing(`the trust bundle in ${namespace}`, own, facts);
      return behind.length > 0 ? behind : known(bundles, look, judgeBundles);
    }),
  },
  ofPods('pods-without-sidecar', 'Does every pod of these namespaces have a sidecar?', unmeshed, (pod) =>
    pod.sidecarImage === undefined && !pod.isOptedOut
      ? warn(`${nameOf(pod)} has none: it was made before its namespace opted in`, restart(pod))
      : undefined,
  ),
  {
    ...{ id: 'pods-old-sidecar', group: 'pods', places: ['cluster'], pain: 'Upgrades that need restarts' },
    question: 'Do all sidecars run the image that new ones get?',
    judge: inCluster(({ pods, sidecarImage }) =>
      known(sidecarImage, look, (image) =>
        known(pods, look, (all) => {
          const meshed = running(all).filter((pod) => pod.sidecarImage !== undefined);
          if (image === undefined)
            return [
              warn('the ConfigMap cellmesh-control-plane names no image for sidecars', '`cellmesh install` writes it'),
            ];
          const old = meshed.filter((pod) => pod.sidecarImage !== image);
          return few(
            old.map((pod) => warn(`${nameOf(pod)} runs ${pod.sidecarImage}, new ones ${image}`, restart(pod))),
            `${counted(meshed.length, 'sidecar')} of ${image}`,
          );
        }),
      ),
    ),
  },
  ofPods(
    'pods-default-account',
    'Does every pod have a service account of its own?',
    'One identity for many workloads',
    (pod) =>
      pod.serviceAccount === 'default' && !pod.isOptedOut && !pod.allowsDefaultServiceAccount
        ? fail(`${nameOf(pod)} runs as \`default\`: it gets no identity`, 'give it a service account of its own')
        : undefined,
  ),
  ofPods('pods-host-network', "Is every sidecar its pod's alone?", unmeshed, (pod) =>
    pod.isHostNetwork && !pod.isOptedOut && !pod.allowsHostNetwork
      ? warn(
          `${nameOf(pod)} has the network of its node`,
          'do without `hostNetwork`, or keep it out: cellmesh.io/inject: "disabled"',
        )
      : undefined,
  ),
  ofPods(
    'interception',
    'Are the rules there that lead traffic through the sidecar?',
    'Races for NET_ADMIN and CNI',
    (pod) => {
      if (pod.sidecarImage === undefined) return undefined;
      if (pod.interception === 'failed')
        return fail(
          `${nameOf(pod)} could not set them`,
          `see \`kubectl logs ${pod.name} -c cellmesh-init -n ${pod.namespace}\``,
        );
      return pod.wantsTransparent && pod.interception === 'missing'
        ? fail(`${nameOf(pod)} asks for transparent mode and has no container that sets them`, restart(pod))
        : undefined;
    },
  ),
  {
    ...{ id: 'network-policies', group: 'pods', places: ['cluster'], pain: unmeshed },
    question: 'Does a NetworkPolicy close what is past the sidecar?',
    judge: inCluster(({ namespaces, isolated }) =>
      known(namespaces, look, (all) =>
        known(isolated, look, (found) =>
          orElse(
            all
              .filter((namespace) => !found.includes(namespace))
              .map((namespace) =>
                warn(
                  `${namespace} has none that is about what comes in`,
                  `allow the ports ${sidecarPorts.inbound} and ${sidecarPorts.health} only (docs/injection.md)`,
                ),
              ),
            `${counted(all.length, 'namespace')} with one`,
          ),
        ),
      ),
    ),
  },
  {
    ...{ id: 'services-past-sidecar', group: 'pods', places: ['cluster'], pain: unmeshed },
    question: 'Does every Service lead to a sidecar?',
    judge: inCluster(({ services, pods }) =>
      known(services, look, (all) =>
        known(pods, look, (found) =>
          few(
            all.flatMap((service) => pastSidecar(service, running(found))),
            `${counted(all.length, 'Service')} lead to sidecars`,
          ),
        ),
      ),
    ),
  },
  {
    ...{ id: 'accounts-without-policy', group: 'pods', places: ['cluster'], pain: 'Requests refused by default' },
    question: 'Does every service account with pods have a ServicePolicy?',
    judge: inCluster((cluster) =>
      both(cluster, (pods, policies) =>
        few(
          [...pods]
            .filter((account) => !policies.has(account))
            .map((account) =>
              warn(
                `${account} has pods and no ServicePolicy: nobody may call it, and it may call nobody`,
                'write one (docs/manifest.md), or have one proposed: `cellmesh policy generate`',
              ),
            ),
          `${counted(pods.size, 'service account')} with policy`,
        ),
      ),
    ),
  },
  {
    ...{ id: 'policies-without-pods', group: 'pods', places: ['cluster'], pain: 'Policy for what is not there' },
    question: 'Is every ServicePolicy about pods that there are?',
    judge: inCluster((cluster) =>
      both(cluster, (pods, policies) =>
        few(
          [...policies]
            .filter((account) => !pods.has(account))
            .map((account) =>
              warn(
                `no pod with a sidecar runs as ${account}`,
                'check the spelling of `serviceAccount`, and whether its namespace has opted in; or remove it',
              ),
            ),
          `${counted(policies.size, 'ServicePolicy').replace(/Policys$/, 'Policies')} with pods`,
        ),
      ),
    ),
  },
];

function ofPods(id: string, question: string, pain: string, judge: (pod: MeshPod) => Finding | undefined): Check {
  return {
    ...{ id, group: 'pods', places: ['cluster'], question, pain },
    judge: inCluster(({ pods }) =>
      known(pods, look, (all) =>
        few(
          running(all).flatMap((pod) => judge(pod) ?? []),
          counted(running(all).length, 'pod'),
        ),
      ),
    ),
  };
}

function running(pods: readonly MeshPod[]): readonly MeshPod[] {
  return pods.filter(({ hasEnded }) => !hasEnded);
}

function nameOf({ namespace, name }: MeshPod): string {
  return `${namespace}/${name}`;
}

function restart({ namespace }: MeshPod): string {
  return `make it anew: \`kubectl rollout restart -n ${namespace} deployment/<name>\``;
}

function judgeBundles(
  bundles: readonly { readonly namespace: string; readonly text: string | undefined }[],
): readonly Finding[] {
  const mend = 'the holder of the Lease writes it: see the check `leader`, and its log';
  const [own, ...others] = bundles;
  if (own?.text === undefined) return [fail(`there is no ConfigMap cellmesh-trust-bundle in ${own?.namespace}`, mend)];
  return orElse(
    others.flatMap(({ namespace, text }) => {
      if (text === undefined)
        return [fail(`${namespace} has no ConfigMap cellmesh-trust-bundle: its pods do not start`, mend)];
      return text === own.text ? [] : [fail(`the trust bundle in ${namespace} is not that of ${own.namespace}`, mend)];
    }),
    `${counted(bundles.length, 'namespace')} with the same`,
  );
}

/** In explicit mode what is dialled is what is reached; in transparent mode all but excluded ports are redirected. */
function pastSidecar(
  { namespace, name, selector, targetPorts }: MeshService,
  pods: readonly MeshPod[],
): readonly Finding[] {
  const chosen = pods.filter(
    (pod) =>
      pod.namespace === namespace &&
      pod.sidecarImage !== undefined &&
      Object.keys(selector).length > 0 &&
      Object.entries(selector).every(([label, value]) => pod.labels[label] === value),
  );
  const ours: readonly number[] = [sidecarPorts.inbound, sidecarPorts.health];
  const past = targetPorts.filter((target) =>
    chosen.some((pod) => {
      const port = typeof target === 'number' ? target : pod.portsByName[target];
      if (port === undefined || ours.includes(port)) return false;
      return pod.interception === 'missing' || pod.excludedInboundPorts.includes(port);
    }),
  );
  return past.map((target) =>
    warn(
      `the Service ${namespace}/${name} leads to port ${target}, past the sidecar`,
      `set \`targetPort: ${sidecarPorts.inbound}\`; calls inside the mesh go by the name and do not need it`,
    ),
  );
}

function both(
  { pods, policyObjects }: ClusterFacts,
  judge: (pods: ReadonlySet<string>, policies: ReadonlySet<string>) => readonly Finding[],
): readonly Finding[] {
  return known(pods, look, (all) =>
    known(policyObjects, look, (objects) => {
      const meshed = running(all).filter(({ sidecarImage }) => sidecarImage !== undefined);
      const accounts = meshed.map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`);
      const named = objects.filter(({ serviceAccount }) => serviceAccount !== '');
      return judge(
        new Set(accounts),
        new Set(named.map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`)),
      );
    }),
  );
}
