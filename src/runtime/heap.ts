import { setFlagsFromString } from 'node:v8';

/**
 * Nothing is allocated as if it were old already. V8 does so where it once saw most objects of a place survive, and a request that was in flight
 * at that moment is enough: from then on each such object keeps all that it points to alive until the next full collection, which made
 * pauses three times as long. A Node without the flag says so on standard error and goes on.
 */
export function allocateYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
