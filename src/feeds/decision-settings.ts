import { choice, duration, fraction, integer, type Settings } from '#runtime/config.ts';

/** Settings of every process that decides on requests. */
export const decisionSettings = {
  accessLog: choice(
    'Decisions to write to standard output, a JSON line each; `denials` are those that were denied or failed.',
    ['off', 'denials', 'all'],
    'off',
  ),
  reportedPermits: integer(
    'Permits a second that are reported at most; all denials and failures are, and the first permit of every edge. The rest stay in the log on disk.',
    { min: 0, max: 100_000, fallback: 300 },
  ),
  reportedPermitsShare: fraction('The share of permits that is reported, within that.', 1),
} as const satisfies Settings;

/** Settings of every process that stores decisions. */
export const decisionStoreSettings = {
  decisionsAgeMax: duration('How long decisions are kept.', 7 * 24 * 3600_000, 60_000),
  decisionsSizeMax: integer('Bytes that the database may take; beyond them the oldest decisions go.', {
    min: 4 * 1024 * 1024,
    max: 100 * 1024 ** 4,
    fallback: 1024 ** 3,
  }),
  decisionAccounts: choice(
    'How account ids are stored in decisions: as they are, or as an HMAC under a key of this process that is replaced each `--decisions-age-max`.',
    ['plain', 'hmac'],
    'plain',
  ),
} as const satisfies Settings;
