import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { Agent, request } from 'undici';
import { parseCertificate } from '#certs/certificate.ts';
import { toPem } from '#certs/pem.ts';
import { SvidRejected } from '#certs/svid-rules.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { reviewBytesMax } from '#control-plane/webhook/admission-review.ts';
import { WebhookCertificate } from '#control-plane/webhook/webhook-certificate.ts';
import { WebhookMetrics } from '#control-plane/webhook/webhook-metrics.ts';
import { startWebhookServer } from '#control-plane/webhook/webhook-server.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Metrics } from '#runtime/metrics.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { logLines } from '../../support/log-lines.ts';
import { type TestAuthority, testAuthority } from '../../support/test-authority.ts';

const dayMs = 24 * 3600_000;
const review = JSON.stringify({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: { uid: 'u', kind: { group: '', version: 'v1', kind: 'Pod' }, operation: 'CREATE', object: {} },
});

describe('the webhook port', () => {
  const stack = new AsyncDisposableStack();
  const clock = new FakeClock(Date.now());
  const lines = logLines();
  const metrics = new WebhookMetrics();
  const registry = new Metrics();
  metrics.register(registry);
  let authority: TestAuthority;
  let certificate: WebhookCertificate;
  let port: number;
  let agent: Agent;
  let roots: string;
  before(async () => {
    authority = await testAuthority(clock);
    roots = authority.authority.bundle.current.roots.map(({ der }) => toPem('CERTIFICATE', der)).join('');
    const options = { clock, random: systemRandom, logger: lines.logger };
    certificate = stack.use(
      await WebhookCertificate.open({ ...options, authority: authority.authority, name: 'localhost' }),
    );
    const server = stack.use(
      await startWebhookServer({
        ...{ host: '127.0.0.1', port: 0, certificate: certificate.certificate, metrics, logger: lines.logger },
        clock: systemClock,
        webhooks: new Map([
          ['/inject', () => ({ outcome: 'unchanged', isAllowed: true })],
          [
            '/validate',
            () => {
              throw new TypeError('a defect');
            },
          ],
        ]),
      }),
    );
    ({ port } = server);
    agent = new Agent({ connect: { ca: roots } });
    stack.defer(() => agent.destroy());
  });
  after(() => stack[Symbol.asyncDispose]());

  async function ask(
    options: { path?: string; method?: 'POST' | 'GET'; body?: string | Buffer; headers?: object } = {},
  ) {
    const { path = '/inject', method = 'POST', body, headers } = options;
    const answer = await request(`https://localhost:${port}${path}`, {
      ...{ dispatcher: agent, method },
      headers: { 'content-type': 'application/json', ...headers },
      ...(method === 'POST' && { body: body ?? review }),
    });
    return { status: answer.statusCode, body: (await answer.body.json()) as { error?: string; response?: object } };
  }

  const handshake = (options: ConnectionOptions = {}) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: roots, ...options }, () =>
        resolve(socket),
      );
      socket.once('error', reject);
    });

  const serialShown = async () => {
    const socket = await handshake();
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber.toLowerCase();
  };

  test('answers a review', async () => {
    assert.deepEqual(await ask(), {
      status: 200,
      body: { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: 'u', allowed: true } },
    });
  });

  const refusals: readonly (readonly [string, Parameters<typeof ask>[0], number, RegExp])[] = [
    ['another path', { path: '/' }, 404, /no such webhook/],
    ['another method', { method: 'GET' }, 405, /POST/],
    ['another type', { headers: { 'content-type': 'application/yaml' } }, 415, /application\/json/],
    ['what is compressed', { headers: { 'content-encoding': 'br' } }, 415, /not compressed/],
    ['what is no review', { body: '{}' }, 400, /no AdmissionReview/],
    ['what is not UTF-8', { body: Buffer.from([0x22, 0xff, 0x22]) }, 400, /UTF-8/],
    ['what is too long', { body: Buffer.alloc(reviewBytesMax + 1, ' ') }, 413, /at most 8388608 bytes/],
    ['what we cannot do', { path: '/validate' }, 500, /^internal$/],
  ];
  for (const [what, options, status, said] of refusals) {
    test(`refuses ${what}, and goes on`, async () => {
      const answer = await ask(options);
      assert.match(answer.body.error ?? '', said);
      assert.equal(answer.status, status);
      assert.equal((await ask()).status, 200);
    });
  }

  test('refuses what is too long before it has come, and reads no more', async () => {
    const socket = await handshake();
    socket.write(
      `POST /inject HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n`,
    );
    const head = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
    assert.match(head, /^HTTP\/1\.1 413 /);
    socket.destroy();
  });

  test('takes the longest', async () => {
    const padded = review + ' '.repeat(reviewBytesMax - review.length);
    assert.equal((await ask({ body: padded })).status, 200);
  });

  test('lives through callers that break off, and through bytes that are no TLS', async () => {
    for (let at = 0; at < 20; at++) {
      const socket = await handshake();
      const text = `POST /inject HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${review.length}\r\n\r\n${review}`;
      socket.end(text.slice(0, 10 + at * 10));
      socket.on('error', () => {});
      socket.destroySoon();
    }
    await new Promise<void>((resolve) => {
      const plain = connectTcp(port, '127.0.0.1', () => plain.write('GET / HTTP/1.1\r\n\r\n'));
      plain
        .on('close', resolve)
        .on('error', () => {})
        .resume();
    });
    await eventually(async () => {
      assert.match(await registry.render(), /^cellmesh_webhook_handshakes_failed_total 1$/m);
    });
    assert.equal((await ask()).status, 200);
  });

  test('speaks TLS 1.3 alone', async () => {
    const socket = await handshake();
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    socket.destroy();
    await assert.rejects(handshake({ maxVersion: 'TLSv1.2' }), /alert|protocol/i);
  });

  test('shows a certificate for its name, by the roots of the cell, that is no SVID', async () => {
    await assert.rejects(handshake({ servername: 'other' }), /does not match certificate's altnames/);
    const chain = certificate.certificate.current.chain
      .split(/(?<=-----END CERTIFICATE-----\n)/)
      .filter(Boolean)
      .map((pem) => parseCertificate(Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64')));
    assert.deepEqual(chain[0]!.uriSans, []);
    assert.throws(
      () => verifyChain(chain, bundlesOf(authority.authority.bundle.current), clock.now()),
      (error) => error instanceof SvidRejected && error.rule === 'uri_san_missing',
    );
  });

  test('has a new certificate each day, long before the old one ends, and open connections stay', async () => {
    const open = await handshake();
    const before = await serialShown();
    await clock.advance(0.8 * dayMs);
    assert.equal(await serialShown(), before);
    await clock.advance(0.2 * dayMs);
    await eventually(() => assert.equal(lines.with('certificate of the webhooks renewed').length, 1));
    const [leaf] = certificate.certificate.current.chain.split(/(?<=-----END CERTIFICATE-----\n)/);
    const { serial, notAfter } = parseCertificate(Buffer.from(leaf!.replace(/-----.*-----/g, ''), 'base64'));
    assert.notEqual(serial, before);
    assert.ok(Math.abs(notAfter - clock.now() - 3 * dayMs) < 0.2 * dayMs);
    // Its time has not come by the clock of this process, so it is not held against it.
    const socket = await handshake({ rejectUnauthorized: false });
    assert.equal(socket.getPeerCertificate().serialNumber.toLowerCase(), serial);
    socket.destroy();
    open.write(
      `POST /inject HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${review.length}\r\n\r\n${review}`,
    );
    assert.match(
      await new Promise<string>((resolve) => open.once('data', (data) => resolve(data.toString()))),
      /^HTTP\/1\.1 200 /,
    );
    open.destroy();
  });
});

test('an authority that is away is asked again, and the old certificate stays', async () => {
  const clock = new FakeClock();
  const lines = logLines();
  const { authority } = await testAuthority(clock);
  let isAway = false;
  using certificate = await WebhookCertificate.open({
    authority: {
      bundle: authority.bundle,
      issueServer: async (request) => {
        if (isAway) throw new Error('away');
        return authority.issueServer(request);
      },
    },
    ...{ name: 'localhost', clock, random: systemRandom, logger: lines.logger },
  });
  const first = certificate.certificate.current;
  isAway = true;
  await clock.advance(1.2 * dayMs);
  assert.equal(certificate.certificate.current, first);
  const failures = lines.with('was not renewed').length;
  assert.ok(failures > 10 && failures < 100, `${failures}`);
  isAway = false;
  await clock.advance(300_000);
  await eventually(() => assert.notEqual(certificate.certificate.current, first));
});

test('a name that is none is not signed', async () => {
  const { authority } = await testAuthority(new FakeClock());
  const options = { authority, clock: new FakeClock(), random: systemRandom, logger: logLines().logger };
  for (const name of ['', '*.example', 'spiffe://a/b', '127.0.0.1:1', `${'a'.repeat(64)}.example`])
    await assert.rejects(WebhookCertificate.open({ ...options, name }), (error) =>
      isCellmeshError(error, 'svid_not_issued'),
    );
});

describe('a caller that wants too much', () => {
  const head = (bytes: number) =>
    `POST /inject HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;

  async function start(limits: Parameters<typeof startWebhookServer>[0]['limits']) {
    const { authority } = await testAuthority(systemClock);
    const options = { clock: systemClock, random: systemRandom, logger: logLines().logger };
    const certificate = await WebhookCertificate.open({ ...options, authority, name: 'localhost' });
    const server = await startWebhookServer({
      ...{ host: '127.0.0.1', port: 0, certificate: certificate.certificate, metrics: new WebhookMetrics() },
      ...options,
      ...(limits && { limits }),
      webhooks: new Map([['/inject', () => ({ outcome: 'unchanged', isAllowed: true })]]),
    });
    const dial = () =>
      new Promise<{ socket: TLSSocket; received: () => string; closed: Promise<void> }>((resolve, reject) => {
        let text = '';
        const socket = connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false }, () =>
          resolve({ socket, received: () => text, closed: new Promise((end) => socket.once('close', () => end())) }),
        );
        socket.on('data', (data) => {
          text += data;
        });
        socket.on('error', reject);
      });
    return {
      dial,
      async [Symbol.asyncDispose]() {
        certificate[Symbol.dispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  }

  test('opens so many connections, and no more', async () => {
    await using started = await start({ connectionsMax: 2 });
    const open = [await started.dial(), await started.dial()];
    await assert.rejects(started.dial());
    open[0]!.socket.destroy();
    await eventually(async () => void open.push(await started.dial()));
    for (const { socket } of open) socket.destroy();
  });

  test('has so many bytes read at once, over all connections, and no more', async () => {
    await using started = await start({ unreadBytesMax: 2_000 });
    const [one, other] = [await started.dial(), await started.dial()];
    one.socket.write(head(3_000) + 'x'.repeat(2_000));
    other.socket.write(`${head(1)}x`);
    await eventually(() => assert.match(one.received() + other.received(), /^HTTP\/1\.1 503 /));
    one.socket.destroy();
    other.socket.destroy();
    const third = await started.dial();
    third.socket.write(head(review.length) + review);
    await eventually(() => assert.match(third.received(), /^HTTP\/1\.1 200 /));
    third.socket.destroy();
  });

  test('takes its time, and is cut off', async () => {
    await using started = await start({ requestTimeoutMs: 200 });
    const slow = await started.dial();
    slow.socket.write(head(100));
    await slow.closed;
    assert.match(slow.received(), /^(HTTP\/1\.1 408 .*)?/);
  });

  test('is answered when the port closes under its call, and idle connections end', async () => {
    const started = await start({});
    const [idle, busy] = [await started.dial(), await started.dial()];
    busy.socket.write(head(review.length).replace('\r\n\r\n', '\r\nexpect: 100-continue\r\n\r\n'));
    await eventually(() => assert.match(busy.received(), /^HTTP\/1\.1 100 Continue/));
    const closing = started[Symbol.asyncDispose]();
    await idle.closed;
    busy.socket.write(review);
    await closing;
    await busy.closed;
    assert.match(busy.received(), /HTTP\/1\.1 200 OK\r\nconnection: close/i);
  });
});
