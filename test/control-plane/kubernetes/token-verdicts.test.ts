import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import type { Resource } from '#kubernetes/resources.ts';
import {
  type AttestationReason,
  AttestationRejected,
  type AttestedIds,
  ServiceAccountAttestor,
} from '#kubernetes/service-account-attestor.ts';
import { silentLogger } from '#runtime/logger.ts';

const pod = {
  metadata: { namespace: 'shop', name: 'web-0', uid: 'u-1' },
  spec: { serviceAccountName: 'web', nodeName: 'node-1' },
  status: { phase: 'Running', podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00:0::1' }] },
};
const extra = {
  'authentication.kubernetes.io/pod-name': ['web-0'],
  'authentication.kubernetes.io/pod-uid': ['u-1'],
};
const user = { username: 'system:serviceaccount:shop:web', extra };
const status = { authenticated: true, audiences: ['cellmesh'], user };

/** Attests by what an API server answers, though none of today's would. */
function attest(answer: unknown, address = '10.0.0.1', object: unknown = pod): Promise<string> {
  const client = {
    review: async <T>(resource: Resource<T>): Promise<T> => resource.read(answer),
    get: async <T>(resource: Resource<T>): Promise<T> => resource.read(object),
  };
  const trustDomain = parseTrustDomain('cell-1.example.com');
  const ids: AttestedIds = {
    isMeant: () => true,
    idOf: ({ namespace, name }) => workloadId(trustDomain, namespace, name),
  };
  const options = { client, ids, audience: 'cellmesh', comparesAddresses: true, logger: silentLogger };
  return new ServiceAccountAttestor(options).attest('a.b.c', address);
}

describe('a verdict of the API server', () => {
  test('that is complete gives an identity, from each address of the pod however it is written', async () => {
    for (const address of ['10.0.0.1', '::ffff:10.0.0.1', 'fd00::1', 'FD00:0:0:0:0:0:0:1'])
      assert.equal(await attest({ status }, address), 'spiffe://cell-1.example.com/ns/shop/sa/web');
  });

  const refusals: Readonly<Record<string, readonly [unknown, AttestationReason]>> = {
    'without a status': [{}, 'token_not_authenticated'],
    'that is no map': ['yes', 'token_not_authenticated'],
    'that is not quite true': [{ status: { ...status, authenticated: 'true' } }, 'token_not_authenticated'],
    'without audiences, of a server that knows none': [
      { status: { ...status, audiences: undefined } },
      'audience_missing',
    ],
    'with another audience': [{ status: { ...status, audiences: ['vault', 'cellmesh2'] } }, 'audience_missing'],
    'about a person': [{ status: { ...status, user: { ...user, username: 'admin' } } }, 'service_account_missing'],
    'about a node': [
      { status: { ...status, user: { ...user, username: 'system:node:node-1' } } },
      'service_account_missing',
    ],
    'with more in the name': [
      { status: { ...status, user: { ...user, username: 'system:serviceaccount:shop:web:x' } } },
      'service_account_missing',
    ],
    'with a slash in the name': [
      { status: { ...status, user: { ...user, username: 'system:serviceaccount:shop:../cellmesh' } } },
      'service_account_missing',
    ],
    'without a pod': [{ status: { ...status, user: { username: user.username } } }, 'pod_missing'],
    'with a pod and no uid': [
      { status: { ...status, user: { ...user, extra: { 'authentication.kubernetes.io/pod-name': ['web-0'] } } } },
      'pod_missing',
    ],
  };
  for (const [which, [answer, reason]] of Object.entries(refusals)) {
    test(`${which} is refused as ${reason}`, async () => {
      await assert.rejects(attest(answer), (error) => error instanceof AttestationRejected && error.reason === reason);
    });
  }

  test('about a pod that the caller has an address in common with as text only is refused', async () => {
    for (const address of ['10.0.0.10', '10.0.0.2', 'fd00::10', ''])
      await assert.rejects(
        attest({ status }, address),
        (error) => error instanceof AttestationRejected && error.reason === 'address_differs',
      );
  });

  test('means a pod without a uid by no means', async () => {
    const bare = { ...pod, metadata: { namespace: 'shop', name: 'web-0' } };
    await assert.rejects(
      attest({ status }, '10.0.0.1', bare),
      (error) => error instanceof AttestationRejected && error.reason === 'pod_replaced',
    );
  });
});
