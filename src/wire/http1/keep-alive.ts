import { fieldIds } from '../field-names.ts';
import type { FieldSection } from './field-section.ts';

const keepAliveId = fieldIds['keep-alive'];
/** For a request to arrive before the server gives up waiting for one. */
const marginMs = 1_000;

/** `Keep-Alive: timeout=5` (seconds, RFC 2068 19.7.1): how long a connection of that server may be used again; Infinity where it does not say. */
export function keepAliveMs(head: FieldSection): number {
  const said = head.fieldById(keepAliveId);
  const seconds = said === undefined ? undefined : /(?:^|[\s,;])timeout=([0-9]{1,6})/i.exec(said)?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Number(seconds) * 1_000 - marginMs);
}
