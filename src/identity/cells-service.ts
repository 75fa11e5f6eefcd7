import { type ServedService, served } from '#api/api-server.ts';
import { IdentityCells } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { isSameBundle, parseTrustBundle } from '#certs/trust-bundle.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { IdentityStore } from './identity-store.ts';

interface CellsServiceOptions {
  readonly store: IdentityStore;
  readonly changed: (type: 'cells') => void;
}

/** What control planes tell of their own cells. */
export function cellsService({ store, changed }: CellsServiceOptions): ServedService {
  return served(IdentityCells, {
    async publishBundle({ trustBundle }, caller) {
      const { trustDomain } = caller.peer!;
      const cell = [...store.cells().values()].find((one) => one.trustDomain === trustDomain);
      if (cell === undefined) throw new CellmeshError('not_found', `no cell of ${trustDomain} is registered`);
      const bundle = parseTrustBundle(trustBundle, trustDomain);
      const { sequence, roots } = cell.bundle;
      if (isSameBundle(bundle, cell.bundle)) return {};
      if (bundle.sequence <= sequence) {
        throw new CellmeshError(
          'conflict',
          `sequence ${bundle.sequence} is not above ${sequence}, which is registered`,
        );
      }
      if (!bundle.roots.some(({ der }) => roots.some((known) => known.der.equals(der)))) {
        throw new CellmeshError(
          'conflict',
          `none of these roots of ${trustDomain} is registered; its operator registers it anew (cellmesh cells register)`,
        );
      }
      store.putCell({ ...cell, bundle });
      changed('cells');
      return {};
    },
  });
}
