import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isCellmeshError } from '#runtime/errors.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { Metrics } from '#runtime/metrics.ts';
import { startAdminSocket } from '#sidecar/admin-socket.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

function overSocket(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, async (response) => {
      const body = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode ?? 0, body });
    }).once('error', reject);
  });
}

describe('the health server', () => {
  test('says whether the process lives, whether it is ready and why not, and its metrics', async () => {
    const metrics = new Metrics();
    metrics.counter('cellmesh_things_total', 'Things.').inc(3);
    let reasons: string[] = ['svid: no SVID yet'];
    await using server = await startHealthServer({ host: '127.0.0.1', port: 0, notReady: () => reasons, metrics });
    const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
    assert.equal((await at('/healthz')).status, 200);
    const unready = await at('/readyz');
    assert.equal(unready.status, 503);
    assert.deepEqual(await unready.json(), { ready: false, reasons: ['svid: no SVID yet'] });
    reasons = [];
    assert.equal((await at('/readyz?verbose')).status, 200);
    assert.match(await (await at('/metrics')).text(), /cellmesh_things_total 3/);
    assert.equal((await at('/else')).status, 404);
    assert.equal((await at('/healthz', { method: 'POST' })).status, 405);
  });

  test('a taken port is one clear error', async () => {
    const options = { host: '127.0.0.1', notReady: () => [], metrics: new Metrics() };
    await using first = await startHealthServer({ ...options, port: 0 });
    await assert.rejects(startHealthServer({ ...options, port: first.port }), (error) =>
      isCellmeshError(error, 'port_taken'),
    );
  });
});

describe('the admin socket', () => {
  test('belongs to its user alone and answers with state and decisions', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'admin', 'sidecar.sock');
    const options = {
      path,
      state: async () => ({ service: 'messaging/api' }),
      drain: async () => {},
      decision: async (id: string) => (id === 'api-1.2' ? { id } : undefined),
    };
    {
      await using _ = await startAdminSocket(options);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await stat(join(directory.path, 'admin'))).mode & 0o777, 0o700);
      assert.deepEqual(JSON.parse((await overSocket(path, '/state')).body), { service: 'messaging/api' });
      assert.deepEqual(JSON.parse((await overSocket(path, '/decisions/api-1.2')).body), { id: 'api-1.2' });
      assert.equal((await overSocket(path, '/decisions/other')).status, 404);
      assert.equal((await overSocket(path, '/decisions/..%2f')).status, 404);
    }
    await using _ = await startAdminSocket(options);
    assert.equal((await overSocket(path, '/state')).status, 200);
  });

  test('a path that systems would cut is refused', async () => {
    const options = {
      path: `/tmp/${'x'.repeat(100)}`,
      state: async () => ({}),
      drain: async () => {},
      decision: async () => undefined,
    };
    await assert.rejects(startAdminSocket(options), (error) => isCellmeshError(error, 'config_invalid'));
  });
});
