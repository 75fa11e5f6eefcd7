import { systemClock } from '#runtime/clock.ts';
import { createLogger, type Logger, type LogLevel } from '#runtime/logger.ts';

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** A logger that keeps what is written, as it would be written: redacted, one JSON object a line. */
export interface LogLines {
  readonly logger: Logger;
  readonly all: readonly LogLine[];
  /** Lines whose JSON text holds every one of `words`. */
  with(...words: string[]): readonly LogLine[];
  /** The lines as they would stand in a file. */
  text(): string;
}

export function logLines(): LogLines {
  const texts: string[] = [];
  const all: LogLine[] = [];
  const write = (text: string) => {
    texts.push(text);
    all.push(JSON.parse(text) as LogLine);
  };
  return {
    logger: createLogger({ level: 'debug', clock: systemClock, write }),
    all,
    with: (...words) => all.filter((_, index) => words.every((word) => texts[index]!.includes(word))),
    text: () => texts.join(''),
  };
}
