import { fstatSync } from 'node:fs';

/** Calls `stop` when this process is asked to end, or when whoever started it and holds the other end of its standard input is gone. */
export function stopWithParent(stop) {
  process.once('SIGTERM', stop).once('SIGINT', stop);
  // In a container it is /dev/null, which is at its end from the start.
  const input = fstatSync(0);
  if (input.isFIFO() || input.isSocket()) process.stdin.once('end', stop).resume();
}
