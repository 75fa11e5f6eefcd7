import type { Command } from 'commander';
import { type Cell, IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { readTextFile } from '#certs/private-file.ts';
import { address } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type AuthorityOptions, atIdentity, withAuthority } from './operator.ts';
import { print, table } from './output.ts';

interface RegisterOptions extends AuthorityOptions {
  readonly trustDomain: string;
  readonly trustBundle: string;
  readonly controlPlane: string;
}

/** The cells that identity and its routers know. */
export function addCells(program: Command): void {
  const cells = program
    .command('cells')
    .summary('cells that routers can reach')
    .description('Cells that routers can reach.');
  withAuthority(cells.command('list').description('Lists all cells.'), 'identity').action(
    async (options: AuthorityOptions) => {
      const { cells } = await atIdentity(options, (client) => client.call(IdentityAdmin.method.listCells, {}));
      show(cells, options);
    },
  );
  withAuthority(
    cells
      .command('register')
      .description(
        'Makes a cell known: routers follow its control plane, and its control plane may ask for token keys.',
      )
      .argument('<cell>', 'id of the cell')
      .requiredOption('--trust-domain <domain>', 'the trust domain of the cell')
      .requiredOption('--trust-bundle <file>', "the cell's roots: trust-bundle.json of its control plane")
      .requiredOption('--control-plane <host:port>', 'where its control plane answers'),
    'identity',
  ).action(async (cellId: string, options: RegisterOptions) => {
    const { host, port } = controlPlaneAddress(options.controlPlane);
    const cell = {
      cellId,
      trustDomain: options.trustDomain,
      trustBundle: await readTextFile(options.trustBundle),
      controlPlaneHost: host,
      controlPlanePort: port,
    };
    show([await atIdentity(options, (client) => client.call(IdentityAdmin.method.registerCell, { cell }))], options);
  });
}

function controlPlaneAddress(text: string) {
  try {
    return address('').parse(text);
  } catch (cause) {
    throw new CellmeshError('config_invalid', `--control-plane ${messageOf(cause)}`, { cause });
  }
}

function show(cells: readonly Cell[], options: AuthorityOptions): void {
  const rows = cells.map(({ cellId, trustDomain, controlPlaneHost, controlPlanePort }) => ({
    cellId,
    trustDomain,
    controlPlane: `${controlPlaneHost}:${controlPlanePort}`,
  }));
  const forPeople = () =>
    table(
      ['CELL', 'TRUST DOMAIN', 'CONTROL PLANE'],
      rows.map((row) => [row.cellId, row.trustDomain, row.controlPlane]),
    );
  print(rows, forPeople, options);
}
