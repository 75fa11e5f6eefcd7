import type { Check } from './check-definition.ts';
import { certificateChecks } from './checks/certificates.ts';
import { clusterChecks } from './checks/cluster.ts';
import { controlPlaneChecks } from './checks/control-plane.ts';
import { machineChecks } from './checks/machine.ts';
import { objectChecks } from './checks/objects.ts';
import { plaintextChecks } from './checks/plaintext.ts';
import { podChecks } from './checks/pods.ts';
import { policyChecks } from './checks/policy.ts';
import { programChecks } from './checks/programs.ts';
import { rotationChecks } from './checks/rotation.ts';
import { sidecarChecks } from './checks/sidecars.ts';

/** Every check there is, in the order of the report. `docs/check.md` is held to this list. */
export const checks: readonly Check[] = [
  ...programChecks,
  ...certificateChecks,
  ...rotationChecks,
  ...controlPlaneChecks,
  ...sidecarChecks,
  ...policyChecks,
  ...plaintextChecks,
  ...machineChecks,
  ...clusterChecks,
  ...objectChecks,
  ...podChecks,
];
