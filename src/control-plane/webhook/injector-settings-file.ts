import { dirname } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { WatchedDirectory } from '#runtime/watched-directory.ts';
import { type InjectorSettings, injectorSettings } from '../injector/settings.ts';

interface InjectorSettingsFileOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The settings of sidecars in a file, read again when it changes, be it by the symbolic link that the kubelet moves (volumes of ConfigMaps). A
 * file that cannot be used is told of, and the last good one stays.
 */
export class InjectorSettingsFile implements Disposable {
  readonly #options: InjectorSettingsFileOptions;
  readonly #watched: WatchedDirectory;
  #settings: InjectorSettings;
  #problems: readonly string[] = [];

  /** @throws CellmeshError `config_invalid`: there is nothing older to go on with */
  constructor(options: InjectorSettingsFileOptions) {
    const { file, clock, logger } = options;
    this.#options = options;
    this.#settings = read(file);
    this.#watched = new WatchedDirectory({
      directory: dirname(file),
      clock,
      onChange: () => this.#read(),
      onUnwatchable: (error) =>
        logger.warn('changes of the injector’s settings are found by looking every few seconds', {
          reason: messageOf(error),
        }),
    });
  }

  get settings(): InjectorSettings {
    return this.#settings;
  }

  /** Why the file as it is now is not in force; empty when it is. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  [Symbol.dispose](): void {
    this.#watched[Symbol.dispose]();
  }

  #read(): void {
    const { file, logger } = this.#options;
    try {
      const settings = read(file);
      this.#problems = [];
      if (JSON.stringify(settings) === JSON.stringify(this.#settings)) return;
      this.#settings = settings;
      logger.info('settings of the injector in force', { file, image: settings.image, mode: settings.mode });
    } catch (error) {
      const problems = isCellmeshError(error) && error.problems.length > 0 ? error.problems : [messageOf(error)];
      if (problems.join() === this.#problems.join()) return;
      this.#problems = problems;
      logger.error('the settings of the injector are refused, the old ones stay in force', { file, problems });
    }
  }
}

/** The environment is that of the control plane, whose settings have some of the same names. */
function read(file: string): InjectorSettings {
  return loadConfig(injectorSettings, { file, environment: {}, flags: {} });
}
