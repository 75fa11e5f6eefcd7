import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { describe, test } from 'node:test';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { Server as GrpcServer, ServerCredentials, type ServerWritableStream, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { applicationMetricsPath, parseRecordedProbes } from '#api/recorded-probes.ts';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { Metrics } from '#runtime/metrics.ts';
import { systemRandom } from '#runtime/random.ts';
import { applicationProbes } from '#sidecar/probes/application-probes.ts';
import { type Application, type Handler, startApplication } from '../support/application.ts';
import { freePort } from '../support/free-port.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const path = '/probe/app/liveness';
const plain = { kind: 'http', scheme: 'http', path: '/ready', headers: [], isRelayed: false, timeoutMs: 2_000 };

/** What a kubelet gets for one recorded probe. */
async function probed(probe: object, at = path) {
  const probes = parseRecordedProbes(JSON.stringify({ [at]: probe }));
  await using health = await startHealthServer({
    host: '127.0.0.1',
    port: 0,
    notReady: () => [],
    metrics: new Metrics(),
    routes: applicationProbes({ probes, host: '127.0.0.1', clock: systemClock }),
  });
  const response = await fetch(`http://127.0.0.1:${health.port}${at}`, { headers: { 'x-injected': 'no' } });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

function answering(answer: Handler): Promise<Application> {
  return startApplication(answer);
}

async function listening<T extends Server>(server: T): Promise<T & AsyncDisposable & { readonly at: number }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = (server.address() as AddressInfo).port;
  const dispose = () => new Promise<void>((resolve) => void server.close(() => resolve()));
  return Object.assign(server, { at, [Symbol.asyncDispose]: dispose });
}

describe('a probe by HTTP', () => {
  test('asks the application what was recorded, with its headers and nothing of who asks', async () => {
    await using application = await answering(() => ({ status: 204, body: '' }));
    const headers = [
      ['Host', 'web.example'],
      ['X-Probe', '1'],
      ['Connection', 'upgrade'],
    ];
    const { status } = await probed({ ...plain, port: application.port, path: '/ready?full=1', headers });
    assert.equal(status, 200);
    const [{ method, url, headers: came } = assert.fail()] = application.received;
    assert.deepEqual([method, url], ['GET', '/ready?full=1']);
    assert.deepEqual(
      [came.host, came['x-probe'], came['user-agent'], came.accept, came['x-injected']],
      ['web.example', '1', 'kube-probe', '*/*', undefined],
    );
    assert.notEqual(came.connection, 'upgrade');
  });

  test("fails with the application's status", async () => {
    await using application = await answering(() => ({ status: 500, body: 'no' }));
    assert.equal((await probed({ ...plain, port: application.port })).status, 500);
  });

  test('fails where nobody listens', async () => {
    assert.equal((await probed({ ...plain, port: await freePort() })).status, 503);
  });

  test('fails when its own time is over', async () => {
    await using silent = await listening(createServer((socket) => void socket.on('error', () => {}).resume()));
    const { status, body } = await probed({ ...plain, port: silent.at, timeoutMs: 50 });
    assert.deepEqual([status, JSON.parse(body).error], [504, 'the application did not answer in 50 ms']);
  });

  test('does not wait for a body', async () => {
    await using endless = await listening(
      createServer((socket) => {
        socket
          .resume()
          .on('error', () => {})
          .write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
      }),
    );
    assert.equal((await probed({ ...plain, port: endless.at })).status, 200);
  });

  test('follows a redirect on the same host, and takes one to another for an answer', async () => {
    await using application = await answering(({ url }) =>
      url === '/ready'
        ? { status: 302, headers: { location: '/other' }, body: '' }
        : { status: url === '/other' ? 503 : 200, body: '' },
    );
    assert.equal((await probed({ ...plain, port: application.port })).status, 503);
    await using away = await answering(() => ({
      status: 302,
      headers: { location: 'http://away.example/' },
      body: '',
    }));
    assert.equal((await probed({ ...plain, port: away.port })).status, 200);
    await using circle = await answering(() => ({ status: 302, headers: { location: '/ready' }, body: '' }));
    assert.equal((await probed({ ...plain, port: circle.port })).status, 200);
    assert.equal(circle.received.length, 11);
  });

  test('by https checks no certificate', async () => {
    await using directory = await temporaryDirectory();
    const files = await openWebCertificate({
      directory: directory.path,
      names: ['another.example'],
      addresses: [],
      clock: systemClock,
      random: systemRandom,
    });
    const pair = { key: await readFile(files.keyFile), cert: await readFile(files.certificateFile) };
    const server = createTlsServer(pair, (_, response) => void response.end('ok'));
    await using application = await listening(server as unknown as Server);
    assert.equal((await probed({ ...plain, scheme: 'https', port: application.at })).status, 200);
    await using other = await answering(() => ({ status: 200, body: '' }));
    assert.equal((await probed({ ...plain, scheme: 'https', port: other.port })).status, 503);
    server.closeAllConnections();
  });
});

describe('a probe by TCP', () => {
  test('tells whether the application takes connections', async () => {
    await using server = await listening(createServer((socket) => void socket.end()));
    assert.equal((await probed({ kind: 'tcp', port: server.at, timeoutMs: 1_000 })).status, 200);
    assert.equal((await probed({ kind: 'tcp', port: await freePort(), timeoutMs: 1_000 })).status, 503);
  });
});

type Check = (call: ServerWritableStream<{ service: string }, number>) => void;

/** The method that health checks call, on a real server. */
async function startGrpcHealth(check: Check) {
  const server = new GrpcServer();
  const definition = {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    // So that a test says when the message comes, and what after it; the bytes are those of one answer.
    responseStream: true,
    requestSerialize: ({ service }: { service: string }) => Buffer.from(service),
    requestDeserialize(bytes: Buffer) {
      const reader = new BinaryReader(bytes);
      let service = '';
      while (reader.pos < reader.len) {
        const [field] = reader.tag();
        assert.equal(field, 1);
        service = reader.string();
      }
      return { service };
    },
    responseSerialize: (value: number) => Buffer.from(new BinaryWriter().tag(1, 0).int32(value).finish()),
    responseDeserialize: (bytes: Buffer) => bytes.length,
  } as const;
  server.addService({ check: definition }, { check } as never);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  return { port, [Symbol.asyncDispose]: async () => server.forceShutdown() };
}

describe('a probe by gRPC', () => {
  const longName = `a.${'very.'.repeat(40)}long.Name`;

  test('asks the health service of the application, by the name of one of its services', async () => {
    const services: Readonly<Record<string, number>> = { '': 1, [longName]: 1, 'down.Down': 2, 'torn.Torn': 1 };
    await using health = await startGrpcHealth((call) => {
      const value = services[call.request.service];
      if (value === undefined) return void call.emit('error', { code: status.NOT_FOUND, details: 'unknown service' });
      call.write(value);
      if (call.request.service === 'torn.Torn') call.emit('error', { code: status.INTERNAL, details: 'broken' });
      else call.end();
    });
    const ask = async (service: string) => {
      const { status, body } = await probed({ kind: 'grpc', port: health.port, service, timeoutMs: 2_000 });
      return [status, JSON.parse(body)];
    };
    assert.deepEqual(await ask(''), [200, { serving: true, grpcStatus: '0' }]);
    assert.deepEqual(await ask(longName), [200, { serving: true, grpcStatus: '0' }]);
    assert.deepEqual(await ask('down.Down'), [503, { serving: false, grpcStatus: '0' }]);
    assert.deepEqual(await ask('torn.Torn'), [503, { serving: false, grpcStatus: String(status.INTERNAL) }]);
    assert.deepEqual(await ask('unknown.Unknown'), [503, { serving: false, grpcStatus: String(status.NOT_FOUND) }]);
  });

  test('fails where something else answers, or nobody', async () => {
    await using application = await answering(() => ({ status: 200, body: 'ok' }));
    const probe = { kind: 'grpc', service: '', timeoutMs: 2_000 };
    assert.equal((await probed({ ...probe, port: application.port })).status, 503);
    assert.equal((await probed({ ...probe, port: await freePort() })).status, 503);
  });
});

describe('metrics of the application', () => {
  const scrape = { ...plain, path: '/stats', headers: [['accept', 'text/plain']], isRelayed: true };

  test('are passed on as they are', async () => {
    const body = 'things_total 3\n'.repeat(20_000);
    const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };
    await using application = await answering(() => ({ status: 200, headers, body }));
    const answer = await probed({ ...scrape, port: application.port }, applicationMetricsPath);
    assert.deepEqual(answer, { status: 200, type: headers['content-type'], body });
    assert.equal(application.received[0]?.url, '/stats');
  });

  test('are not there where the application has none', async () => {
    await using application = await answering(() => ({ status: 404, body: 'no such page' }));
    const { status, body } = await probed({ ...scrape, port: application.port }, applicationMetricsPath);
    assert.deepEqual([status, body], [404, 'no such page']);
  });
});

describe('recorded probes', () => {
  test('that were not recorded are not asked', async () => {
    const probes = parseRecordedProbes('{}');
    const routes = applicationProbes({ probes, host: '127.0.0.1', clock: systemClock });
    assert.equal(await routes('/probe/app/liveness', 'GET'), undefined);
  });

  const broken: readonly (readonly [name: string, text: string, reason: RegExp])[] = [
    ['no JSON', '{', /no JSON/],
    ['no map', '[]', /map from paths/],
    ['a path with a query', '{"/a?b":{}}', /path that cannot be used/],
    ['no probe', '{"/a":1}', /no map at \/a/],
    ['a port that is none', '{"/a":{"kind":"tcp","port":0,"timeoutMs":1}}', /need port/],
    ['an unknown kind', '{"/a":{"kind":"udp","port":1,"timeoutMs":1}}', /neither http, tcp nor grpc/],
    ['no scheme', '{"/a":{"kind":"http","port":1,"timeoutMs":1}}', /need a scheme/],
    [
      'a path to ask for with a line end',
      JSON.stringify({ '/a': { ...plain, port: 1, path: '/\r\n' } }),
      /need a path/,
    ],
    [
      'a header with a line end',
      JSON.stringify({ '/a': { ...plain, port: 1, headers: [['a', 'b\r\nc: d']] } }),
      /need headers/,
    ],
    ['no service', '{"/a":{"kind":"grpc","port":1,"timeoutMs":1}}', /need a service/],
    ['more than there can be', `{"${'a'.repeat(70_000)}":1}`, /longer than/],
  ];
  test('of any text are read or refused, never a defect', () => {
    const json = fc.jsonValue().map((value) => JSON.stringify(value));
    const near = fc.jsonValue().map((value) => JSON.stringify({ '/a': { ...plain, port: 1, headers: value } }));
    fc.assert(
      fc.property(fc.oneof(fc.string(), json, near), (text) => {
        try {
          parseRecordedProbes(text);
        } catch (error) {
          assert.ok(isCellmeshError(error, 'config_invalid'), String(error));
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  for (const [name, text, reason] of broken) {
    test(`are refused with ${name}`, () => {
      assert.throws(() => parseRecordedProbes(text), { code: 'config_invalid', message: reason });
    });
  }
});
