import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods } from '#kubernetes/resources.ts';
import { watchEvents } from '#kubernetes/watch-events.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Mutator } from '../../fuzz/mutate.ts';

const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;
const pod = (name: string, resourceVersion: string) => ({ metadata: { name, namespace: 'ä', resourceVersion } });
const stream = [
  line('ADDED', pod('a', '1')),
  line('MODIFIED', pod('a', '2')),
  line('DELETED', pod('a', '3')),
  line('BOOKMARK', { metadata: { resourceVersion: '9' } }),
].join('');

async function read(...chunks: readonly Uint8Array[]): Promise<string[]> {
  const seen: string[] = [];
  const body = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk);
  })();
  for await (const event of watchEvents(body, pods))
    seen.push(
      `${event.type} ${'object' in event ? event.object.name + event.object.namespace : ''}${event.resourceVersion}`,
    );
  return seen;
}

const expected = ['changed aä1', 'changed aä2', 'deleted aä3', 'bookmark 9'];

describe('the events of a watch', () => {
  test('are the same however their bytes are cut', async () => {
    const bytes = Buffer.from(stream);
    assert.deepEqual(await read(bytes), expected);
    assert.deepEqual(await read(...Array.from(bytes, (byte) => Buffer.of(byte))), expected);
    for (let at = 1; at < bytes.length; at++)
      assert.deepEqual(await read(bytes.subarray(0, at), bytes.subarray(at)), expected);
  });

  test('do not count when the last one is cut off', async () => {
    assert.deepEqual(await read(Buffer.from(stream).subarray(0, -1)), expected.slice(0, 3));
  });

  test('end with what the server says is wrong', async () => {
    const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    await assert.rejects(
      read(Buffer.from(line('ERROR', status))),
      (error) => error instanceof KubernetesError && error.isExpired,
    );
    await assert.rejects(
      read(Buffer.from(line('ERROR', {}))),
      (error) => error instanceof KubernetesError && error.status === 500,
    );
  });

  const wrong: Readonly<Record<string, string>> = {
    'no JSON': 'what?\n',
    'of no known type': line('RENAMED', pod('a', '1')),
    'without a version': line('ADDED', { metadata: {} }),
    'without an object': '{"type":"ADDED"}\n',
    'no map': '[1]\n',
  };
  for (const [which, text] of Object.entries(wrong)) {
    test(`are refused when one is ${which}`, async () => {
      await assert.rejects(read(Buffer.from(text)), (error) => isCellmeshError(error, 'kubernetes_unavailable'));
    });
  }

  test('may have eight megabytes each, and one byte more ends the watch', async () => {
    const max = 8 * 1024 * 1024;
    const frame = line('ADDED', { metadata: { name: 'a', resourceVersion: '1', x: '' } }).length - 1;
    const sized = (bytes: number) =>
      Buffer.from(line('ADDED', { metadata: { name: 'a', resourceVersion: '1', x: 'x'.repeat(bytes - frame) } }));
    const cut = (bytes: Buffer) => [bytes.subarray(0, -1), bytes.subarray(-1)];
    assert.equal((await read(...cut(sized(max)))).length, 1);
    await assert.rejects(read(...cut(sized(max + 1))), (error) => isCellmeshError(error, 'kubernetes_unavailable'));
  });

  test('let nothing but typed errors escape, whatever their bytes are', async () => {
    const mutator = new Mutator([stream, line('ERROR', { code: 'x' })], 11);
    for (let count = 0; count < 2_000; count++) {
      await read(mutator.next()).catch((error: unknown) => assert.ok(isCellmeshError(error), String(error)));
    }
  });
});
