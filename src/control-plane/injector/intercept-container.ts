import { interceptName, sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import type { Container } from './pod.ts';
import { type Injected, resources } from './sidecar-container.ts';

/** Sets the rules of the pod's network once, before anything else of it runs, and ends. */
export function interceptContainer(injected: Injected): Container {
  const { options, settings } = injected;
  const { excludeInboundPorts, excludeOutboundPorts, excludeOutboundCidrs } = options;
  return {
    name: interceptName,
    image: options.image ?? settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    command: ['cellmesh', 'intercept', 'install'],
    args: [
      ...['--uid', String(settings.uid)],
      ...['--outbound-port', String(sidecarPorts.intercepted)],
      ...['--inbound-port', String(sidecarPorts.inbound)],
      ...['--open-port', [sidecarPorts.health, ...excludeInboundPorts].join(',')],
      ...(excludeOutboundCidrs.length > 0 ? ['--except-to', excludeOutboundCidrs.join(',')] : []),
      ...(excludeOutboundPorts.length > 0 ? ['--except-port', excludeOutboundPorts.join(',')] : []),
    ],
    resources: resources(injected),
    // Root, since a capability is given to no other user, and this one alone: `nft` needs no more, nor does `iptables` of its own time.
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: 0,
      runAsNonRoot: false,
      runAsUser: 0,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}
