import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { address, type Config, choice, integer, optional, parsed, type Settings, text } from '#runtime/config.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { image, objectName, quantity } from './kubernetes-values.ts';

export const injectionModes = ['explicit', 'transparent'] as const;

/** What all sidecars of a cell have in common. Names are those that a sidecar's own settings have, where there is one. */
export const injectorSettings = {
  image: image('Image of the sidecar; `cellmesh` must be in its PATH.'),
  imagePullPolicy: choice('When the image is pulled.', ['IfNotPresent', 'Always', 'Never'], 'IfNotPresent'),
  cellId: parsed('Id of the cell.', 'NAME', parseCellId),
  trustDomain: parsed('Trust domain of the cell.', 'DOMAIN', parseTrustDomain),
  globalTrustDomain: parsed('Trust domain of routers.', 'DOMAIN', parseTrustDomain),
  controlPlane: address("The control plane's gRPC port, as pods reach it."),
  tokenAudience: optional(
    text("Audience of the pod's service-account token; default: the SPIFFE ID of the control plane."),
  ),
  trustBundleConfigMap: objectName(
    "ConfigMap in the pod's namespace that holds the cell's trust bundle as `trust-bundle.json`.",
    'cellmesh-trust-bundle',
  ),
  mode: choice('How calls reach the sidecar, unless a pod says it.', injectionModes, 'explicit'),
  uid: integer('User that sidecars run as; no other container may.', { min: 1, max: 65_535, fallback: 14_000 }),
  cpuRequest: quantity('CPU that a sidecar asks for.', '50m'),
  cpuLimit: optional(quantity('CPU that it may take; default: no limit, which would only add delays.')),
  memoryRequest: quantity('Memory that a sidecar asks for.', '128Mi'),
  memoryLimit: quantity('Memory that it may take.', '384Mi'),
} as const satisfies Settings;

export type InjectorSettings = Config<typeof injectorSettings>;
