/** Whether a line of a ring is a denial, or a request that failed: what is reported whatever else is not. A torn line is neither. */
export function isFailedRecord(line: string): boolean {
  // Quotes within texts are escaped, so this is a key, and most lines are done with here.
  if (!line.includes('"reason":')) return false;
  try {
    return (JSON.parse(line) as { reason?: unknown } | null)?.reason !== undefined;
  } catch {
    return false;
  }
}
