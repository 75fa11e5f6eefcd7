import { Command, CommanderError } from 'commander';
import { addAccounts } from './accounts.ts';
import { addCall } from './call.ts';
import { addCells } from './cells.ts';
import { addCerts } from './certs.ts';
import { addDrain } from './drain.ts';
import { describeExitCodes, exitCodeOf, exitCodes } from './exit-codes.ts';
import { addExplain } from './explain.ts';
import { addIntercept } from './intercept/intercept.ts';
import { addJoinToken } from './join-token.ts';
import { addKeys } from './keys.ts';
import { printError } from './output.ts';
import { addRoles } from './roles.ts';
import { addToken } from './token.ts';
import { addUp } from './up/up.ts';

const program = new Command('cellmesh')
  .description('A service mesh for workload identity: mutual TLS with SPIFFE SVIDs, tokens and scope policy, in cells.')
  .version('0.1.0')
  .showHelpAfterError('(--help shows what there is)')
  .exitOverride()
  .addHelpText('after', `\nExit codes:\n${describeExitCodes()}`);

for (const add of [
  addUp,
  addCall,
  addDrain,
  addIntercept,
  addExplain,
  addAccounts,
  addKeys,
  addCells,
  addToken,
  addJoinToken,
  addCerts,
  addRoles,
])
  add(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong already; `--help` and `--version` end this way too.
    process.exitCode = error.exitCode === 0 ? exitCodes.ok.code : exitCodes.usage.code;
  } else {
    printError(error, { json: process.argv.includes('--json') });
    process.exitCode = exitCodeOf(error);
  }
}
