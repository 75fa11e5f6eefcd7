import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { callHttp, startApplication } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { logLines } from '../support/log-lines.ts';
import { startCell } from '../support/start-cell.ts';

describe('an application that the network reaches past its sidecar', () => {
  test('keeps the sidecar from becoming ready, with one line that says where and what to do, until it is closed', async () => {
    const lines = logLines();
    await using cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    const { delivery } = cell.services;
    const open = await startApplication(undefined, '127.0.0.2', delivery.application.port);
    await using _ = open;
    await delivery.startSidecar();
    const where = `inbound_open: the application answers at 127.0.0.2:${open.port} past its sidecar; let it listen on loopback only`;
    await eventually(() => assert.ok(delivery.sidecar.notReady().join().startsWith(where)));
    const ready = await callHttp({ port: delivery.sidecar.ports.health!, path: '/readyz' });
    assert.equal(ready.status, 503);
    assert.ok(JSON.parse(ready.body).reasons[0].startsWith(where));
    const started = await callHttp({ port: delivery.sidecar.ports.health!, path: '/startupz' });
    assert.deepEqual([started.status, JSON.parse(started.body)], [200, { started: true, reasons: [] }]);

    await open[Symbol.asyncDispose]();
    await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
    assert.equal((await callHttp({ port: delivery.sidecar.ports.health!, path: '/readyz' })).status, 200);
    assert.equal(lines.with('not ready', 'inbound_open', 'answers at').length, 1);
    assert.equal(lines.with('condition cleared', 'inbound_open', `"${delivery.sidecar.instance}"`).length, 1);
  });

  test('is no matter where a NetworkPolicy is vouched for', async () => {
    await using cell = await startCell({ withoutSidecars: ['delivery'] });
    const { delivery } = cell.services;
    await using _ = await startApplication(undefined, '127.0.0.2', delivery.application.port);
    await delivery.startSidecar({ openPortVouched: 'true' });
    await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
  });
});
