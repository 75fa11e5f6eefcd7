import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { startMesh } from '../../support/start-mesh.ts';

test('a request that is not clean HTTP is answered with reason and id, and its record says which rule it broke', async () => {
  await using mesh = await startMesh();
  const { dataPlane, records } = mesh.services.api;
  for (const [request, status, rule] of [
    [
      'GET / HTTP/1.1\r\nHost: messaging\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc',
      400,
      /Transfer-Encoding/i,
    ],
    ['GET / HTTP/1.1\r\nHost: messaging\r\nX-Folded: a\r\n b\r\n\r\n', 400, /fold|line/i],
    ['GET / HTTP/1.0\r\nHost: messaging\r\n\r\n', 505, /version|HTTP/i],
  ] as const) {
    const socket = connect(dataPlane.outboundPort!, '127.0.0.1');
    socket.write(request);
    const answer = await text(socket);
    assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer);
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    const { reason, decision } = JSON.parse(body) as { reason: string; decision: string };
    assert.equal(reason, 'message_malformed');
    assert.match(head, new RegExp(`^cellmesh-decision: ${decision}\r?$`, 'm'));
    const record = await eventually(() => {
      const found = records.find(({ id }) => id === decision);
      assert.ok(found);
      return found;
    });
    assert.equal(record.status, status);
    assert.match(String(record.failed?.actual), rule);
  }
});
