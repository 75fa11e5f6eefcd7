import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRemoved, type Passage } from '#sidecar/header-rules.ts';

const passages: readonly Passage[] = ['inbound-request', 'inbound-response', 'outbound-request', 'outbound-response'];

describe('header rules', () => {
  for (const passage of passages) {
    test(`${passage}: names of the mesh are removed in every spelling`, () => {
      for (const name of [
        'cellmesh-token',
        'cellmesh-account',
        'cellmesh-anything-new',
        'cellmesh-',
        'cellmesh_account',
        'cellmesh_account_id',
        'x-forwarded-client-cert',
        'x_forwarded_client_cert',
        'x-forwarded_client-cert',
      ]) {
        assert.ok(isRemoved(passage, name), name);
      }
    });

    test(`${passage}: what belongs to applications passes`, () => {
      for (const name of ['authorization', 'cookie', 'x-request-id', 'cellmeshy', 'content-type', 'my-cellmesh-note']) {
        assert.ok(!isRemoved(passage, name), name);
      }
    });
  }

  test('trace fields of requests are written anew, those of responses pass', () => {
    for (const name of ['traceparent', 'tracestate']) {
      assert.deepEqual(
        passages.map((passage) => isRemoved(passage, name)),
        [true, false, true, false],
      );
    }
  });

  test('other names with an underscore are removed only on the way into an application', () => {
    assert.deepEqual(
      passages.map((passage) => isRemoved(passage, 'x_user')),
      [true, false, false, false],
    );
  });
});
