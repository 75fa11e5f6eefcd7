import { test } from 'node:test';
import { passLargeBody } from './support/large-body.ts';

for (const framing of ['length', 'chunks'] as const) {
  test(`64 MiB with ${framing} pass up and down, and a reader that pauses stops the writer`, { timeout: 60_000 }, () =>
    passLargeBody(64 * 1024 * 1024, framing),
  );
}
