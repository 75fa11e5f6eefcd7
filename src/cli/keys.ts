import type { Command } from 'commander';
import { type ApiKey, type CreatedKey, IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { duration } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type AuthorityOptions, atIdentity, withAuthority } from './operator.ts';
import { print, table } from './output.ts';

/** API keys of accounts. A secret is shown once, when it is made. */
export function addKeys(program: Command): void {
  const keys = program
    .command('keys')
    .summary('API keys of accounts')
    .description(
      'API keys of accounts. An account has two usable ones at most, so that one can take over from the other.',
    );
  withAuthority(
    keys.command('list').description("Lists an account's keys.").argument('<account>', 'AC and 32 hexadecimal digits'),
    'identity',
  ).action(async (accountId: string, options: AuthorityOptions) => {
    const { keys } = await atIdentity(options, (client) => client.call(IdentityAdmin.method.listKeys, { accountId }));
    show(keys, options);
  });
  withAuthority(
    keys
      .command('create')
      .description('Creates a key and shows its secret, this once.')
      .argument('<account>', 'AC and 32 hexadecimal digits')
      .requiredOption('--scopes <list>', 'what the key may, separated by commas: messages:read,messages:write'),
    'identity',
  ).action(async (accountId: string, options: AuthorityOptions & { scopes: string }) => {
    const request = { accountId, scopes: options.scopes.split(',').map((scope) => scope.trim()) };
    showSecret(await atIdentity(options, (client) => client.call(IdentityAdmin.method.createKey, request)), options);
  });
  withAuthority(
    keys
      .command('rotate')
      .description('Creates a second key with the same rights; the first ends after the overlap.')
      .argument('<key>', 'SK and 32 hexadecimal digits')
      .option('--overlap <duration>', 'how long both work', '24h'),
    'identity',
  ).action(async (keyId: string, options: AuthorityOptions & { overlap: string }) => {
    const request = { keyId, overlapMs: BigInt(parseDuration('--overlap', options.overlap)) };
    showSecret(await atIdentity(options, (client) => client.call(IdentityAdmin.method.rotateKey, request)), options);
  });
  withAuthority(
    keys.command('revoke').description('Ends a key at once.').argument('<key>', 'SK and 32 hexadecimal digits'),
    'identity',
  ).action(async (keyId: string, options: AuthorityOptions) => {
    show([await atIdentity(options, (client) => client.call(IdentityAdmin.method.revokeKey, { keyId }))], options);
  });
}

/** @throws CellmeshError `config_invalid` */
export function parseDuration(option: string, text: string): number {
  try {
    return duration('').parse(text);
  } catch (cause) {
    throw new CellmeshError('config_invalid', `${option} ${messageOf(cause)}`, { cause });
  }
}

function showSecret({ key, secret }: CreatedKey, options: AuthorityOptions): void {
  const { accountId, keyId, scopes } = rowOf(key!);
  const forPeople = () =>
    [
      `Key     ${keyId}   (${scopes.join(' ')})`,
      `Secret  ${secret}`,
      '',
      'The secret is not kept and cannot be shown again. Customers send it as the password of HTTP Basic credentials, with',
      `the account ${accountId} as the user.`,
    ].join('\n');
  print({ ...rowOf(key!), secret }, forPeople, options);
}

function show(keys: readonly ApiKey[], options: AuthorityOptions): void {
  const rows = keys.map(rowOf);
  const forPeople = () =>
    table(
      ['KEY', 'STATE', 'ENDS', 'SCOPES'],
      rows.map(({ keyId, state, notAfter, scopes }) => [keyId, state, notAfter ?? 'never', scopes.join(' ')]),
    );
  print(rows, forPeople, options);
}

function rowOf({ keyId, accountId, scopes, state, notAfter }: ApiKey) {
  const ends = Number(notAfter);
  return { keyId, accountId, state, notAfter: ends === 0 ? undefined : new Date(ends).toISOString(), scopes };
}
