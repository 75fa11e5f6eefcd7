import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import { CellmeshError } from '#runtime/errors.ts';
import { createLogger, type LogLevel } from '#runtime/logger.ts';
import { equalInConstantTime, Secret } from '#runtime/secret.ts';
import { FakeClock } from '../support/fake-clock.ts';

function logging(level: LogLevel = 'debug') {
  const lines: string[] = [];
  const logger = createLogger({ level, clock: new FakeClock(), write: (line) => lines.push(line) });
  return { logger, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('a logger', () => {
  test('writes one JSON object a line, with time, level, message and fields', () => {
    const { logger, lines, parsed } = logging();
    logger.with({ role: 'sidecar' }).info('started', { port: 14006, at: 5n });
    assert.ok(lines[0]!.endsWith('}\n'));
    const expected = { time: '2026-01-01T00:00:00.000Z', level: 'info', message: 'started', role: 'sidecar' };
    assert.deepEqual(parsed(), [{ ...expected, port: 14006, at: '5' }]);
  });

  test('leaves out what is below its level', () => {
    const { logger, parsed } = logging('warn');
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level](level);
    assert.deepEqual(
      parsed().map(({ level }) => level),
      ['warn', 'error'],
    );
  });

  test('shows no secret, whatever it is called and however deep it lies', () => {
    const { logger, lines } = logging();
    const nested = { Authorization: 'Basic hunter2', list: [{ joinToken: 'hunter2' }], value: new Secret('hunter2') };
    logger.info('x', { token: 'hunter2', 'cellmesh-token': 'hunter2', nested });
    assert.ok(!lines[0]!.includes('hunter2'), lines[0] ?? '');
    assert.equal(lines[0]!.match(/\[redacted\]/g)?.length, 5);
  });

  test('cuts what is long, and keeps a line feed inside its line', () => {
    const { logger, lines } = logging();
    logger.info('a\nb', { text: 'x'.repeat(5000) });
    assert.equal(lines[0]!.split('\n').length, 2);
    assert.ok(lines[0]!.length < 2300);
  });

  test('writes errors with code, problems and cause, and no stack', () => {
    const { logger, parsed, lines } = logging();
    const cause = new Error('ECONNREFUSED');
    logger.error('x', { error: new CellmeshError('config_invalid', 'wrong', { cause, problems: ['a', 'b'] }) });
    const error = {
      code: 'config_invalid',
      message: 'wrong',
      problems: ['a', 'b'],
      cause: { message: 'ECONNREFUSED' },
    };
    assert.deepEqual(parsed()[0]!['error'], error);
    assert.ok(!lines[0]!.includes('test.ts'));
  });

  test('writes a line even of what has no JSON', () => {
    const { logger, parsed } = logging();
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const hostile = {
      toJSON() {
        throw new Error('no');
      },
    };
    logger.info('a circle', { circle });
    logger.info('a trap', { hostile });
    assert.deepEqual(
      parsed().map(({ message }) => message),
      ['a circle', 'a trap'],
    );
  });
});

describe('a secret', () => {
  test('shows itself in no way of printing, and is given by reveal() alone', () => {
    const secret = new Secret('hunter2');
    for (const shown of [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ a: [secret] }),
    ])
      assert.ok(!shown.includes('hunter2') && shown.includes('[redacted]'), shown);
    assert.equal(secret.reveal(), 'hunter2');
  });

  test('is compared byte by byte', () => {
    const bytes = (text: string) => Buffer.from(text);
    assert.equal(equalInConstantTime(bytes('abc'), bytes('abc')), true);
    assert.equal(equalInConstantTime(bytes('abc'), bytes('abd')), false);
    assert.equal(equalInConstantTime(bytes('abc'), bytes('abcd')), false);
  });
});
