import { Command, CommanderError } from 'commander';
import { version } from '#runtime/version.ts';
import { describeExitCodes, exitCodeOf, exitCodes } from './exit-codes.ts';
import { printError } from './output.ts';

type Add = (program: Command) => void;

const roles = async (): Promise<Add> => (await import('./roles.ts')).addRoles;

/** In the order of the help. A verb's code is loaded when it is wanted: a sidecar does not wait for what it never runs. */
const verbs = new Map<string, () => Promise<Add>>(
  Object.entries({
    up: async () => (await import('./up/up.ts')).addUp,
    check: async () => (await import('./check/check.ts')).addCheck,
    call: async () => (await import('./call.ts')).addCall,
    drain: async () => (await import('./drain.ts')).addDrain,
    inject: async () => (await import('./inject/inject.ts')).addInject,
    install: async () => (await import('./install/install.ts')).addInstall,
    uninstall: async () => (await import('./install/uninstall.ts')).addUninstall,
    intercept: async () => (await import('./intercept/intercept.ts')).addIntercept,
    explain: async () => (await import('./explain.ts')).addExplain,
    policy: async () => (await import('./policy/policy.ts')).addPolicy,
    decisions: async () => (await import('./decisions.ts')).addDecisions,
    accounts: async () => (await import('./accounts.ts')).addAccounts,
    keys: async () => (await import('./keys.ts')).addKeys,
    cells: async () => (await import('./cells.ts')).addCells,
    token: async () => (await import('./token.ts')).addToken,
    'join-token': async () => (await import('./join-token.ts')).addJoinToken,
    certs: async () => (await import('./certs.ts')).addCerts,
    sidecar: roles,
    'control-plane': roles,
    identity: roles,
    router: roles,
  }),
);

const program = new Command('cellmesh')
  .description('A service mesh for workload identity: mutual TLS with SPIFFE SVIDs, tokens and scope policy, in cells.')
  .version(version)
  .showHelpAfterError('(--help shows what there is)')
  .exitOverride()
  .addHelpText('after', `\nExit codes:\n${describeExitCodes()}`);

/** The verb that is called; all of them for help, and for what is no verb. */
async function addVerbs(): Promise<void> {
  const load = verbs.get(process.argv[2] ?? '');
  const loads = load === undefined ? new Set(verbs.values()) : [load];
  for (const add of await Promise.all([...loads].map((one) => one()))) add(program);
}

try {
  await addVerbs();
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
