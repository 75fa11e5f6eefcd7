import { listAt, numberAt, textAt, valueAt } from '#kubernetes/json.ts';
import type { SidecarState } from '../facts.ts';

/** Of what a sidecar shows at its admin socket, whatever its version, that which checks look at. */
export function sidecarStateOf(state: unknown): SidecarState {
  const max = numberAt(state, 'openFiles', 'max');
  return {
    version: textAt(state, 'version') ?? '',
    nodeVersion: textAt(state, 'nodeVersion') ?? '',
    notReady: listAt(state, 'notReady').map(String),
    keys: numberAt(state, 'keys', 'count') ?? 0,
    policyVersion: textAt(state, 'policy', 'version'),
    feed: {
      isConnected: valueAt(state, 'controlPlane', 'isConnected') === true,
      ageMs: numberAt(state, 'controlPlane', 'ageMs'),
      isStale: valueAt(state, 'controlPlane', 'isStale') === true,
    },
    droppedDecisions: numberAt(state, 'decisions', 'dropped') ?? 0,
    openFiles: max === undefined ? undefined : { open: numberAt(state, 'openFiles', 'open') ?? 0, max },
  };
}
