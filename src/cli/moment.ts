import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError } from '#runtime/errors.ts';

/**
 * What `--since` and `--until` mean: RFC 3339, or how long ago. Milliseconds since the epoch.
 * @throws CellmeshError `config_invalid`
 */
export function momentOf(text: string, option: string, nowMs: number): number {
  const ago = parseDuration(text);
  const at = ago === undefined ? Date.parse(text) : nowMs - ago;
  if (Number.isNaN(at))
    throw new CellmeshError('config_invalid', `${option} must be RFC 3339, or how long ago: 30m, 7d`);
  return at;
}
