import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { KubernetesClient } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods } from '#kubernetes/resources.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

interface Setting extends AsyncDisposable {
  readonly client: KubernetesClient;
  readonly tokenFile: string;
  readonly asked: readonly IncomingMessage[];
}

/** What a real API server does only when it is in trouble. Answers come in their order, and the last one again. */
async function answering(...answers: readonly Answer[]): Promise<Setting> {
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory()).path;
  const surroundings = { clock: systemClock, random: systemRandom };
  const addresses = ['127.0.0.1'];
  const files = await openWebCertificate({ directory, names: ['localhost'], addresses, ...surroundings });
  const asked: IncomingMessage[] = [];
  const tls = { key: await readFile(files.keyFile), cert: await readFile(files.certificateFile) };
  const server = createServer(tls, (request, response) => {
    asked.push(request);
    answers[Math.min(asked.length, answers.length) - 1]!(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => new Promise((resolve) => server.close(() => resolve())));
  stack.defer(() => server.closeAllConnections());
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, 'first\n');
  const access = {
    server: new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/proxied`),
    authority: { file: files.authorityFile },
    token: { file: tokenFile },
  };
  const client = stack.use(await KubernetesClient.open({ access, ...surroundings }));
  return { client, tokenFile, asked, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const status = (code: number, reason: string, headers: Record<string, string> = {}): Answer => {
  return (response) =>
    response.writeHead(code, headers).end(JSON.stringify({ kind: 'Status', code, reason, message: reason }));
};
const good: Answer = (response) => response.end(JSON.stringify({ metadata: { name: 'a' } }));
const get = ({ client }: Setting) => client.get(pods, { namespace: 'n', name: 'a' });

describe('the Kubernetes client', () => {
  test('tries what it reads again after 429 and 5xx, when the server wants to be asked again', async () => {
    await using setting = await answering(
      status(429, 'TooManyRequests', { 'retry-after': '1' }),
      status(503, ''),
      good,
    );
    const start = performance.now();
    assert.equal((await get(setting)).name, 'a');
    assert.equal(setting.asked.length, 3);
    assert.ok(performance.now() - start >= 1_000, 'not before the second is over');
    assert.equal(setting.asked[0]!.url, '/proxied/api/v1/namespaces/n/pods/a');
  });

  test('gives up after four attempts, and at once when it is asked for more patience than it has', async () => {
    await using failing = await answering(status(500, 'InternalError'));
    await assert.rejects(get(failing), (error) => error instanceof KubernetesError && error.reason === 'InternalError');
    assert.equal(failing.asked.length, 4);
    await using patient = await answering(status(429, 'TooManyRequests', { 'retry-after': '6' }));
    await assert.rejects(get(patient), (error) => error instanceof KubernetesError && error.status === 429);
    assert.equal(patient.asked.length, 1);
  });

  test('applies once, and does not ask again what was refused for good', async () => {
    await using setting = await answering(status(500, 'InternalError'));
    const applying = setting.client.apply(pods, { namespace: 'n', name: 'a' }, {}, { fieldManager: 'test' });
    await assert.rejects(applying, (error) => error instanceof KubernetesError);
    await using forbidding = await answering(status(403, 'Forbidden'));
    await assert.rejects(get(forbidding), (error) => error instanceof KubernetesError && !error.retryable);
    assert.deepEqual([setting.asked.length, forbidding.asked.length], [1, 1]);
  });

  test('reads its token anew for each call, and sends nothing that is none', async () => {
    await using setting = await answering(good);
    await get(setting);
    await writeFile(setting.tokenFile, 'second');
    await get(setting);
    assert.deepEqual(
      setting.asked.map(({ headers }) => headers.authorization),
      ['Bearer first', 'Bearer second'],
    );
    await writeFile(setting.tokenFile, 'third\r\nx-admin: 1');
    await assert.rejects(
      get(setting),
      (error) => isCellmeshError(error, 'file_unreadable') && !/third/.test(error.message),
    );
    assert.equal(setting.asked.length, 2);
  });

  const wrong: Readonly<Record<string, Answer>> = {
    'is no JSON': (response) => response.end('<html>'),
    'is cut off': (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{');
      setImmediate(() => response.destroy());
    },
    'is nothing': (response) => response.destroy(),
    'leads elsewhere': (response) => response.writeHead(302, { location: 'https://other.example.com/' }).end(),
  };
  for (const [which, answer] of Object.entries(wrong)) {
    test(`has a typed error for an answer that ${which}`, async () => {
      await using setting = await answering(answer);
      await assert.rejects(get(setting), (error) => isCellmeshError(error));
    });
  }

  test('reads no more than it must of an answer without end', async () => {
    let sent = 0;
    await using setting = await answering((response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, ' '))) sent += 65_536;
        response.once('drain', more);
      };
      more();
    });
    await assert.rejects(
      get(setting),
      (error) => isCellmeshError(error, 'kubernetes_unavailable') && /longer than/.test(error.message),
    );
    assert.ok(sent < 80 * 1024 * 1024, String(sent));
    assert.equal(setting.asked.length, 1, 'it would be as long again');
  });

  test('ends a call that its owner gives up', async () => {
    await using setting = await answering(() => {});
    const abort = new AbortController();
    const getting = setting.client.get(pods, { namespace: 'n', name: 'a' }, abort.signal);
    abort.abort(new Error('enough'));
    await assert.rejects(getting, /enough/);
  });
});
