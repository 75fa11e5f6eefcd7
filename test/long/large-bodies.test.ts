import { test } from 'node:test';
import { passLargeBody } from '../wire/support/large-body.ts';

for (const framing of ['length', 'chunks'] as const) {
  test(`a gibibyte with ${framing} passes up and down in bounded memory`, { timeout: 300_000 }, () =>
    passLargeBody(1024 ** 3, framing),
  );
}
