/** Whoever starts a process and may vanish holds its standard input open: when it ends, there is nobody left to serve. */
interface StopOptions {
  readonly untilStdinEnds: boolean;
}

/** Resolves when the process is asked to stop: SIGTERM, Ctrl-C, or the end of its supervisor. */
export function stopRequested({ untilStdinEnds }: StopOptions): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
    if (untilStdinEnds) process.stdin.on('end', resolve).on('error', resolve).resume();
  });
}
