/**
 * Every code that a `CellmeshError` can carry: what it means, and what its reader does next. `docs/errors.md` is written from
 * this table. Outcomes of a request (denials) have codes of their own, in `policy/reasons.ts`.
 */
export const errorCodes = {
  // runtime
  config_invalid: {
    meaning: 'A setting is missing, unknown or has a value that cannot be used.',
    action: 'Correct every line that the error lists; `--help` shows the settings.',
  },
  file_unreadable: { meaning: 'A file that is needed cannot be read.', action: 'Check the path and its permissions.' },
  state_locked: {
    meaning: 'Another process uses this state.',
    action: 'Stop the other process, or choose another state directory.',
  },
  state_version: {
    meaning: 'The state was written by a version that this one cannot read.',
    action: 'Run the version that wrote it, or start with a fresh state directory.',
  },
  port_taken: { meaning: 'Another program listens on the port.', action: 'Stop it, or set another port.' },
  start_failed: { meaning: 'A part of the process did not start.', action: 'The cause names the part and its reason.' },
} as const;

export type ErrorCode = keyof typeof errorCodes;
