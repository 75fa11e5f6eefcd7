import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type PortMesh, startPortMesh } from '../support/port-mesh.ts';
import { reachable } from '../support/reachable.ts';
import { goProgram } from './parts.ts';

/** The interoperability suite of gRPC (github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md), by its Go client and server. */
const version = 'v1.85.0';
const client = await goProgram('google.golang.org/grpc/interop/client', version);
const server = await goProgram('google.golang.org/grpc/interop/server', version);
const missing = 'skip' in client ? client.skip : 'skip' in server ? server.skip : undefined;

const cases = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'custom_metadata',
  'unimplemented_method',
  'unimplemented_service',
] as const;

describe('the gRPC interoperability suite through two sidecars', missing === undefined ? {} : { skip: missing }, () => {
  let application: ChildProcess;
  let started: PortMesh;

  before(async () => {
    assert.ok('path' in server);
    const port = await freePort();
    application = spawn(server.path, ['-port', String(port)], { stdio: 'ignore' });
    await eventually(() => reachable(port));
    started = await startPortMesh(
      port,
      [
        '{ name: all, from: [messaging/api], account: none, http: { methods: [POST], paths: [/grpc.testing.TestService/*, /grpc.testing.UnimplementedService/*] } }',
      ],
      'grpc',
    );
  });

  after(async () => {
    await started?.[Symbol.asyncDispose]();
    application?.kill();
    if (application?.exitCode === null) await once(application, 'exit');
  });

  for (const name of cases) {
    test(name, { timeout: 60_000 }, async () => {
      assert.ok('path' in client);
      const port = String(started.listenPort);
      const options = ['-server_host', '127.0.0.1', '-server_port', port, '-additional_metadata', 'cellmesh-as:self'];
      await promisify(execFile)(client.path, [...options, '-test_case', name], { timeout: 50_000 });
    });
  }
});
