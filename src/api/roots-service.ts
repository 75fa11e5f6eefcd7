import type { Authority } from '#certs/authority.ts';
import type { RootHolder } from '#certs/root-holder.ts';
import { type ServedService, served } from './api-server.ts';
import { Roots } from './generated/cellmesh/certs/v1/roots_pb.ts';

/** Port: the roots that this process can show and rotate. */
interface RootsServiceOptions {
  readonly authority: Authority;
  readonly roots: Pick<RootHolder, 'status' | 'rotate'>;
}

/** `Roots`, for control planes and identity alike. */
export function rootsService({ authority, roots }: RootsServiceOptions): ServedService {
  const state = () => {
    const { sequence, roots: all, waits, beginsAt } = roots.status();
    const { serial, notAfter } = authority.intermediate;
    return {
      trustDomain: authority.trustDomain,
      sequence: BigInt(sequence),
      roots: all.map(({ phase, serial, since, until, notBefore, notAfter }) => ({
        phase,
        serial,
        sinceMs: whole(since),
        ...(until !== undefined && { untilMs: whole(until) }),
        notBeforeMs: whole(notBefore),
        notAfterMs: whole(notAfter),
      })),
      waitsFor: [...(waits?.for ?? [])],
      ...(waits !== undefined && { waitsUntilMs: whole(waits.until) }),
      ...(beginsAt !== undefined && { rotatesAtMs: whole(beginsAt) }),
      intermediateSerial: serial,
      intermediateNotAfterMs: whole(notAfter),
    };
  };
  return served(Roots, {
    show: async () => state(),
    async rotate({ retireNow }) {
      await roots.rotate(retireNow);
      return state();
    },
  });
}

function whole(ms: number): bigint {
  return BigInt(Math.round(ms));
}
