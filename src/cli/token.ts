import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { request } from 'undici';
import { readPrivateFile, readTextFile } from '#certs/private-file.ts';
import { routerId } from '#certs/reserved-ids.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { type KeySet, parseKeySet } from '#tokens/key-set.ts';
import { mintToken, type TokenClaims } from '#tokens/mint.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import { signingKeyFromPem } from '#tokens/signing-key.ts';
import { cellTokenLifetimeMsMax, verifyToken } from '#tokens/verify.ts';
import {
  cellId as cellIdDefault,
  findInstallation,
  globalTrustDomain,
  type Installation,
  readInstallation,
  region,
  tokenIssuer,
  trustDomain,
} from './installation.ts';
import { parseDuration } from './keys.ts';
import { type StateOptions, withState } from './operator.ts';
import { distance, print } from './output.ts';
import { readDemo } from './up/demo-account.ts';

interface MintOptions extends StateOptions {
  readonly account?: string;
  readonly scopes?: string;
  readonly cell: string;
  readonly age: string;
}

/** Tokens: what one says, and making one for trying things out. */
export function addToken(program: Command): void {
  const token = program
    .command('token')
    .summary('look into a token, or mint one')
    .description('Look into a token, or mint one.');
  withState(
    token
      .command('inspect')
      .description('Shows what a token says and whether it would be accepted in the cell of the state directory.')
      .argument('[file]', 'file with the token; `-` is standard input', '-'),
  ).action(inspect);
  withState(
    token
      .command('mint')
      .description(
        'Mints a cell token with the signing key of the router in a state directory of `cellmesh up`, and prints it. For trying policy out: no other state directory holds such a key.',
      )
      .option('--account <id>', 'whose token (default: the account of the demonstration)')
      .option('--scopes <list>', 'separated by commas (default: those of its first key)')
      .option('--cell <id>', 'the cell that it is for', cellIdDefault)
      .option('--age <duration>', 'how long ago it was minted; it ends five minutes after that', '0s'),
  ).action(mint);
}

async function mint(options: MintOptions): Promise<void> {
  const installation = await readInstallation(options.state);
  const demo = await readDemo(installation);
  const cellId = parseCellId(options.cell);
  const issuedAt = systemClock.now() - parseDuration('--age', options.age);
  const account = parseAccountId(options.account ?? demo.accountId);
  const claims: TokenClaims = {
    sub: account,
    aud: `${cellId}.${globalTrustDomain}`,
    issuedAt,
    expiresAt: issuedAt + cellTokenLifetimeMsMax,
    id: systemRandom.bytes(12).toString('base64url'),
    clientId: routerId(globalTrustDomain, region, installation.router.instance),
    scope: ScopeSet.of((options.scopes?.split(',') ?? demo.keys[0]!.scopes).map((scope) => parseScope(scope.trim()))),
    account,
    cellId,
    cellEpoch: 1,
    generation: 0,
  };
  const pem = await readPrivateFile(join(installation.router.stateDir, 'signing.pem'));
  const token = await mintToken(signingKeyFromPem(pem, { iss: tokenIssuer, kind: 'cell' }), claims);
  const forPeople = () => {
    process.stderr.write(
      `for ${account} in ${cellId}, ends ${distance(claims.expiresAt, systemClock.now())}: ${claims.scope.text}\n`,
    );
    return token.reveal();
  };
  print({ token: token.reveal(), expiresAt: new Date(claims.expiresAt).toISOString() }, forPeople, options);
}

async function inspect(file: string, options: StateOptions): Promise<void> {
  const token = (file === '-' ? await readText(process.stdin) : await readTextFile(file)).trim();
  const { header, claims } = decode(token);
  const verdict = await verdictOf(token, await findInstallation(options.state));
  const forPeople = () =>
    [
      ...rows('header', header),
      '',
      ...rows('claims', claims),
      '',
      verdict.isAccepted ? 'ACCEPTED' : 'NOT ACCEPTED',
      verdict.why,
    ].join('\n');
  print({ header, claims, ...verdict }, forPeople, options);
}

/** @throws CellmeshError `token_rejected` */
function decode(token: string): { header: Record<string, unknown>; claims: Record<string, unknown> } {
  try {
    return { header: { ...decodeProtectedHeader(token) }, claims: decodeJwt(token) };
  } catch (cause) {
    throw new CellmeshError('token_rejected', `this is no JWT: ${messageOf(cause)}`, { cause });
  }
}

async function verdictOf(
  token: string,
  installation: Installation | undefined,
): Promise<{ isAccepted: boolean; why: string }> {
  if (installation === undefined)
    return { isAccepted: false, why: 'Not verified: there is no state directory, and so no keys to verify it with.' };
  try {
    const keySet = await publishedKeys(installation);
    await verifyToken(token, { keySet, audience: trustDomain, nowMs: systemClock.now() });
    return { isAccepted: true, why: `Signature, times, audience and claims hold in ${trustDomain}.` };
  } catch (error) {
    return { isAccepted: false, why: messageOf(error) };
  }
}

async function publishedKeys({ identity }: Installation): Promise<KeySet> {
  const { host, port } = identity.health;
  const url = `http://${host}:${port}/.well-known/jwks.json`;
  try {
    const { statusCode, body } = await request(url);
    if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    return parseKeySet(await body.text());
  } catch (cause) {
    throw new CellmeshError(
      'rpc_unavailable',
      `no keys to verify it with: ${url} does not answer: ${messageOf(cause)}`,
      {
        cause,
      },
    );
  }
}

const timeClaims = new Set(['iat', 'exp', 'nbf']);

function rows(title: string, values: Record<string, unknown>): string[] {
  return Object.entries(values).map(([name, value], index) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const note = timeClaims.has(name) && typeof value === 'number' ? timeNote(value * 1000) : '';
    return `${(index === 0 ? title : '').padEnd(8)}${name.padEnd(12)}${text}${note}`;
  });
}

function timeNote(ms: number): string {
  return Number.isFinite(new Date(ms).getTime())
    ? `   ${new Date(ms).toISOString()} (${distance(ms, systemClock.now())})`
    : '';
}
