import { duration, fraction, type Settings } from '#runtime/config.ts';
import { rootLifetimeMs } from './roots.ts';

/** Settings of every process that keeps roots. */
export const rootSettings = {
  rootLifetime: duration('how long a root lives that is made here', rootLifetimeMs),
  rootRotateAfter: fraction("the share of the root's life after which the next one is made", 0.67),
  rootPublishMin: duration(
    'how long a new root is known to everybody at least before it signs; whoever has not heard for 12h refuses requests anyway',
    12 * 3600_000,
  ),
} as const satisfies Settings;
