import type { ErrorCode } from '#runtime/error-codes.ts';
import { isCellmeshError } from '#runtime/errors.ts';

/** What the command ends with; sysexits.h names where one fits. Shown by `cellmesh --help`. */
export const exitCodes = {
  ok: { code: 0, meaning: 'done' },
  failed: { code: 1, meaning: 'it failed; the line on standard error says why' },
  usage: { code: 64, meaning: 'wrong flags, settings or documents' },
  noInput: { code: 66, meaning: 'a file cannot be read, or what was named does not exist' },
  unavailable: { code: 69, meaning: 'a process cannot be reached, a port is taken, a state is in use' },
  denied: { code: 77, meaning: 'not allowed' },
  version: { code: 78, meaning: 'the state is of a version that this one cannot read' },
} as const;

type Exit = keyof typeof exitCodes;

const exitOf: Partial<Record<ErrorCode, Exit>> = {
  config_invalid: 'usage',
  document_invalid: 'usage',
  injection_refused: 'usage',
  request_invalid: 'usage',
  spiffe_id_invalid: 'usage',
  scope_invalid: 'usage',
  account_id_invalid: 'usage',
  cell_id_invalid: 'usage',
  file_unreadable: 'noInput',
  not_found: 'noInput',
  svid_unreadable: 'noInput',
  installation_missing: 'noInput',
  state_locked: 'unavailable',
  port_taken: 'unavailable',
  start_failed: 'unavailable',
  listen_failed: 'unavailable',
  rpc_unavailable: 'unavailable',
  rpc_rate_limited: 'unavailable',
  kubernetes_unavailable: 'unavailable',
  no_leader: 'unavailable',
  kubectl_failed: 'unavailable',
  credential_plugin_failed: 'unavailable',
  dial_failed: 'unavailable',
  dial_timeout: 'unavailable',
  rpc_denied: 'denied',
  peer_refused: 'denied',
  key_permissions: 'denied',
  state_version: 'version',
};

export function exitCodeOf(error: unknown): number {
  return exitCodes[(isCellmeshError(error) && exitOf[error.code]) || 'failed'].code;
}

export function describeExitCodes(): string {
  return Object.values(exitCodes)
    .map(({ code, meaning }) => `  ${String(code).padStart(2)}  ${meaning}`)
    .join('\n');
}
