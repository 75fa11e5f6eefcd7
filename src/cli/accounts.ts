import type { Command } from 'commander';
import { type Account, IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { type AuthorityOptions, atIdentity, withAuthority } from './operator.ts';
import { print, table } from './output.ts';

/** Customers, and the cells that they live in. */
export function addAccounts(program: Command): void {
  const accounts = program
    .command('accounts')
    .summary('customers and their cells')
    .description('Customers and their cells.');
  withAuthority(accounts.command('list').description('Lists all accounts.'), 'identity').action(
    async (options: AuthorityOptions) => {
      const { accounts } = await atIdentity(options, (client) => client.call(IdentityAdmin.method.listAccounts, {}));
      show(accounts, options);
    },
  );
  withAuthority(
    accounts
      .command('create')
      .description('Creates an account in a cell.')
      .argument('<name>', 'what people call the customer')
      .option('--cell <id>', 'the cell that it lives in', 'cell-1'),
    'identity',
  ).action(async (name: string, options: AuthorityOptions & { cell: string }) => {
    const request = { name, cellId: options.cell };
    const account = await atIdentity(options, (client) => client.call(IdentityAdmin.method.createAccount, request));
    show([account], options);
  });
  withAuthority(
    accounts
      .command('place')
      .description('Moves an account into another cell. Tokens minted from then on name the new one.')
      .argument('<account>', 'AC and 32 hexadecimal digits')
      .argument('<cell>', 'the new cell'),
    'identity',
  ).action(async (accountId: string, cellId: string, options: AuthorityOptions) => {
    const account = await atIdentity(options, async (client) => {
      const { accounts } = await client.call(IdentityAdmin.method.listAccounts, {});
      const found = accounts.find((account) => account.accountId === accountId);
      if (found === undefined)
        throw new CellmeshError('not_found', `there is no account ${accountId}; \`cellmesh accounts list\` shows them`);
      return client.call(IdentityAdmin.method.placeAccount, { accountId, cellId, cellEpoch: found.cellEpoch });
    });
    show([account], options);
  });
}

function show(accounts: readonly Account[], options: AuthorityOptions): void {
  const rows = accounts.map(({ accountId, name, cellId, cellEpoch, generation }) => ({
    accountId,
    name,
    cellId,
    cellEpoch: Number(cellEpoch),
    generation: Number(generation),
  }));
  const forPeople = () =>
    table(
      ['ACCOUNT', 'NAME', 'CELL', 'EPOCH', 'GENERATION'],
      rows.map((row) => [row.accountId, row.name, row.cellId, String(row.cellEpoch), String(row.generation)]),
    );
  print(rows, forPeople, options);
}
