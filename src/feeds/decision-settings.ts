import { choice, fraction, integer, type Settings } from '#runtime/config.ts';

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
