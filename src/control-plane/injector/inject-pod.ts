import { parseRecordedProbes, recordedProbesText } from '#api/recorded-probes.ts';
import { sidecarName } from '#kubernetes/sidecar-ports.ts';
import { messageOf } from '#runtime/errors.ts';
import { annotationOf, readAnnotations } from './annotations.ts';
import { interceptContainer } from './intercept-container.ts';
import { type Pod, readPod } from './pod.ts';
import { refusals, serviceAccountOf } from './refusals.ts';
import { rewriteMetrics } from './rewrite-metrics.ts';
import { type Recording, rewriteProbes } from './rewrite-probes.ts';
import type { InjectorSettings } from './settings.ts';
import { type Injected, sidecarContainer, sidecarVolumes } from './sidecar-container.ts';

export type Injection =
  | { readonly outcome: 'injected'; readonly mode: InjectorSettings['mode']; readonly pod: Pod }
  /** It stays as it is, and that is right. */
  | { readonly outcome: 'unchanged'; readonly reason: string }
  /** It must not run like this: every reason, and what to do. */
  | { readonly outcome: 'refused'; readonly reasons: readonly string[] };

/**
 * A pod, or the template that one is made of, with its sidecar. Pure. Done once by name: a pod that has a sidecar stays as it is, whatever the settings
 * are by now. What Kubernetes would refuse anyway is left for it to refuse.
 */
export function injectPod(value: unknown, settings: InjectorSettings): Injection {
  const pod = readPod(value);
  if (typeof pod === 'string') return { outcome: 'refused', reasons: [pod] };
  const { containers, initContainers = [] } = pod.spec;
  if ([...initContainers, ...containers].some(({ name }) => name === sidecarName)) {
    return { outcome: 'unchanged', reason: 'it has a sidecar already' };
  }
  if (Object.hasOwn(pod.metadata?.annotations ?? {}, mirrorAnnotation))
    return { outcome: 'unchanged', reason: "it is a kubelet's own, from a file of its node" };
  const label = labelOf(pod);
  if (label === 'disabled') return { outcome: 'unchanged', reason: 'its label says so' };
  const options = readAnnotations(pod.metadata?.annotations ?? {});
  if (!('inject' in options)) return { outcome: 'refused', reasons: options };
  if (options.inject === 'disabled') return { outcome: 'unchanged', reason: 'its annotation says so' };
  if (label !== undefined && label !== 'enabled') return { outcome: 'refused', reasons: [wrongLabel] };
  const recording: Recording = { probes: new Map(), problems: [], openHooks: options.openHooks };
  const spec = options.rewriteProbes === 'enabled' ? rewriteProbes(pod.spec, recording) : pod.spec;
  const annotations = pod.metadata?.annotations ?? {};
  const rewritten = options.rewriteMetrics === 'enabled' ? rewriteMetrics(annotations, recording) : annotations;
  const probes = recording.probes.size > 0 ? recordedProbesText(recording.probes) : undefined;
  const reasons = [...refusals(pod, options, settings), ...recording.problems, ...unreadable(probes)];
  if (reasons.length > 0) return { outcome: 'refused', reasons };
  const mode = options.mode ?? settings.mode;
  const injected: Injected = { options, settings, isTransparent: mode === 'transparent', probes };
  return {
    outcome: 'injected',
    mode,
    pod: {
      ...pod,
      ...(rewritten !== annotations && { metadata: { ...pod.metadata, annotations: rewritten } }),
      spec: {
        ...spec,
        // Its token can be projected only where it is named.
        serviceAccountName: serviceAccountOf(spec),
        volumes: [...(spec.volumes ?? []), ...sidecarVolumes(injected)],
        initContainers: [
          ...(injected.isTransparent ? [interceptContainer(injected)] : []),
          sidecarContainer(injected),
          ...(spec.initContainers ?? []),
        ],
      },
    },
  };
}

/** Of the API server's picture of a pod that runs already (static pods). */
const mirrorAnnotation = 'kubernetes.io/config.mirror';
const injectLabel = annotationOf('inject');
const wrongLabel = `the label ${injectLabel} must be one of enabled, disabled`;

/** A label, for the selector of the webhook: a pod that says `disabled` there is not even asked about. */
function labelOf({ metadata }: Pod): string | undefined {
  return metadata?.labels?.[injectLabel];
}

/** What the sidecar could not read would be found out by the pod that never starts. */
function unreadable(probes: string | undefined): string[] {
  try {
    if (probes !== undefined) parseRecordedProbes(probes);
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}
