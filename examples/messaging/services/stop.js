/** Calls `stop` when this process is asked to end, or when whoever started it is gone. */
export function stopWithParent(stop) {
  process.once('SIGTERM', stop).once('SIGINT', stop);
  process.stdin.once('end', stop).resume();
}
