import { flushCompileCache } from 'node:module';
import { type Command, Option } from 'commander';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { identitySettings } from '#identity/settings.ts';
import { routerSettings } from '#router/settings.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Config, environmentNameOf, fallbackText, flagOf, loadConfig, type Settings } from '#runtime/config.ts';
import { tuneCollector } from '#runtime/heap.ts';
import { createLogger, type Logger, type LogLevel } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { returnMemory } from '#runtime/return-memory.ts';
import { withSourcePositions } from '#runtime/source-positions.ts';
import { sidecarSettings } from '#sidecar/sidecar-config.ts';
import { stopRequested } from './stop-signal.ts';

interface Surroundings {
  readonly clock: typeof systemClock;
  readonly random: typeof systemRandom;
  readonly logger: Logger;
  readonly accessLog: NodeJS.WritableStream & import('node:stream').Writable;
}

interface Role<S extends Settings & { logLevel: Settings[string] }> {
  readonly name: string;
  readonly summary: string;
  readonly settings: S;
  /** Loads the role's code: no process carries what it does not run. */
  readonly start: (config: Config<S>, surroundings: Surroundings) => Promise<AsyncDisposable>;
}

/** The four processes of a mesh. */
export function addRoles(program: Command): void {
  addRole(program, {
    name: 'sidecar',
    summary: 'run a sidecar, beside one instance of a service',
    settings: sidecarSettings,
    start: async (config, surroundings) =>
      (await import('#sidecar/start-sidecar.ts')).startSidecar(config, surroundings),
  });
  addRole(program, {
    name: 'control-plane',
    summary: 'run the control plane of a cell',
    settings: controlPlaneSettings,
    start: async (config, surroundings) =>
      (await import('#control-plane/start-control-plane.ts')).startControlPlane(config, surroundings),
  });
  addRole(program, {
    name: 'identity',
    summary: 'run the global identity service',
    settings: identitySettings,
    start: async (config, surroundings) =>
      (await import('#identity/start-identity.ts')).startIdentity(config, surroundings),
  });
  addRole(program, {
    name: 'router',
    summary: 'run a cell router, at the edge',
    settings: routerSettings,
    start: async (config, surroundings) => (await import('#router/start-router.ts')).startRouter(config, surroundings),
  });
}

function addRole<S extends Settings & { logLevel: Settings[string] }>(program: Command, role: Role<S>): void {
  const command = program
    .command(role.name)
    .summary(role.summary)
    .description(
      `${role.summary}. Logs JSON lines to standard error.\nEach setting can stand in a file (--config), in the environment, or in a flag; the later of these counts.`,
    )
    .option('--config <file>', 'a YAML map of settings, by their names in camel case')
    .option('--until-stdin-ends', 'stop when standard input ends: for supervisors that may vanish', false);
  for (const [name, setting] of Object.entries(role.settings)) {
    const option = new Option(`${flagOf(name)} <${setting.form}>`, `${setting.doc} [${environmentNameOf(name)}]`);
    command.addOption(option.default(undefined, fallbackText(setting)));
  }
  command.action(
    async ({
      config: file,
      untilStdinEnds,
      ...flags
    }: Record<string, string | undefined> & { untilStdinEnds: boolean }) => {
      const config = loadConfig(role.settings, {
        ...(file !== undefined && { file }),
        environment: process.env,
        flags,
      });
      const logger = createLogger({
        level: config.logLevel as LogLevel,
        clock: systemClock,
        write: (line) => void process.stderr.write(line),
        fields: { role: role.name },
      });
      process.on('uncaughtExceptionMonitor', (error) => lastWords(error, logger));
      tuneCollector();
      const stop = stopRequested({ untilStdinEnds });
      const surroundings = { clock: systemClock, random: systemRandom, logger, accessLog: process.stdout };
      const running = await Promise.race([role.start(config, surroundings), stop]);
      if (running === undefined) {
        logger.info('stopping before it has started');
        process.exit();
      }
      // Loads a library, for which nobody shall wait.
      await returnMemory(systemClock);
      // Node would do it at the end, which a killed process does not have. Where the launcher has set up no cache this does nothing.
      flushCompileCache();
      await stop;
      logger.info('stopping');
      await running[Symbol.asyncDispose]();
      // Standard input may still be open; everything of ours has ended.
      process.exit();
    },
  );
}

/** Node shows it next, and ends. */
function lastWords(error: unknown, logger: Logger): void {
  logger.error('an error that nobody handled', { error });
  if (error instanceof Error && error.stack !== undefined) error.stack = withSourcePositions(error.stack);
}
