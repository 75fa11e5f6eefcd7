import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Authority } from '#certs/authority.ts';
import { parseCertificate } from '#certs/certificate.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import type { Webhooks } from '#control-plane/webhook/open-webhooks.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { testAuthority } from '../../support/test-authority.ts';
import { applyWebhookConfigurations, configurationPath, startWebhooks, untilCalled } from '../../support/webhooks.ts';

const programs = kubernetesPrograms();
const configurations = [
  { kind: 'MutatingWebhookConfiguration', name: 'cellmesh-injector' },
  { kind: 'ValidatingWebhookConfiguration', name: 'cellmesh-policies' },
];

interface Stored {
  readonly metadata: { readonly managedFields: readonly { readonly manager: string; readonly fieldsV1: object }[] };
  readonly webhooks: readonly { readonly name: string; readonly clientConfig: { readonly caBundle?: string } }[];
}

describe('the roots by which the API server trusts the webhooks', { skip: 'skip' in programs && programs.skip }, () => {
  const stack = new AsyncDisposableStack();
  const lines = logLines();
  const isLeader = new WatchSource(false);
  let server: KubernetesServer;
  let webhooks: Webhooks;
  let old: Authority;
  let next: Authority;
  let signing: Authority;
  let bundle: WatchSource<TrustBundle>;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await createNamespace(server, 'joined');
    await server.send('PATCH', '/api/v1/namespaces/joined', {
      metadata: { labels: { 'cellmesh.io/inject': 'enabled' } },
    });
    ({ authority: old } = await testAuthority(systemClock));
    ({ authority: next } = await testAuthority(systemClock));
    signing = old;
    bundle = new WatchSource(old.bundle.current);
    const authority = {
      bundle,
      issueServer: (request: Parameters<Authority['issueServer']>[0]) => signing.issueServer(request),
    };
    const manifests = { current: () => ({ cell: undefined, policies: [] }) };
    webhooks = stack.use(
      await startWebhooks(server, { authority, manifests, leadership: isLeader, logger: lines.logger }),
    );
    await applyWebhookConfigurations(server, webhooks.port);
  });
  after(() => stack[Symbol.asyncDispose]());

  const stored = async ({ kind, name }: { kind: string; name: string }) =>
    (await server.request('GET', configurationPath({ kind, name }))).body as Stored;

  /** Of each webhook, how many roots its configuration has. */
  async function rootsStored(): Promise<(readonly string[])[]> {
    const all = await Promise.all(configurations.map(stored));
    return all.flatMap(({ webhooks }) =>
      webhooks.map(({ clientConfig: { caBundle = '' } }) => {
        const pem = Buffer.from(caBundle, 'base64').toString();
        const blocks = [...pem.matchAll(/-----BEGIN CERTIFICATE-----\n([\s\S]*?)-----END/g)];
        return blocks.map(([, base64]) => parseCertificate(Buffer.from(base64!, 'base64')).serial);
      }),
    );
  }

  const serialsOf = (...authorities: readonly Authority[]) =>
    authorities.flatMap((one) => one.bundle.current.roots.map(({ serial }) => serial));

  const setRoots = (...authorities: readonly Authority[]) =>
    bundle.set({
      ...bundle.current,
      sequence: bundle.current.sequence + 1,
      roots: authorities.flatMap((one) => one.bundle.current.roots),
    });

  const untilStored = (...authorities: readonly Authority[]) =>
    eventually(async () => {
      const serials = serialsOf(...authorities);
      assert.deepEqual(await rootsStored(), [serials, serials, serials]);
    });

  const pod = () => ({
    metadata: { generateName: 'api-' },
    spec: { serviceAccountName: 'api', containers: [{ name: 'api', image: 'api:1' }] },
  });
  const create = () => server.request('POST', '/api/v1/namespaces/joined/pods?dryRun=All', { body: pod() });

  test('are not written by a replica that is not the leader', async () => {
    // Without a word of ours nobody is called: the API server finds no root that it trusts.
    await eventually(async () =>
      assert.match(JSON.stringify((await create()).body), /certificate signed by unknown authority/),
    );
    assert.deepEqual(await rootsStored(), [[], [], []]);
  });

  test('are written by the leader, who owns these fields and no other', async () => {
    isLeader.set(true);
    await untilStored(old);
    await untilCalled(server, 'joined');
    for (const configuration of configurations) {
      const { metadata, webhooks } = await stored(configuration);
      const owned = metadata.managedFields.filter(({ manager }) => manager === 'cellmesh-control-plane');
      const fields = webhooks.map(({ name }) => [
        `k:{"name":"${name}"}`,
        { '.': {}, 'f:name': {}, 'f:clientConfig': { 'f:caBundle': {} } },
      ]);
      assert.deepEqual(
        owned.map(({ fieldsV1 }) => fieldsV1),
        [{ 'f:webhooks': Object.fromEntries(fields) }],
      );
    }
  });

  test('are written again when somebody has written something else there', async () => {
    const [mutating] = configurations;
    const { webhooks } = await stored(mutating!);
    const caBundle = Buffer.from(server.authority).toString('base64');
    const changed = webhooks.map((one) => ({ ...one, clientConfig: { ...one.clientConfig, caBundle } }));
    const { status } = await server.request('PATCH', configurationPath(mutating!), {
      body: { webhooks: changed },
      contentType: 'application/merge-patch+json',
    });
    assert.equal(status, 200);
    await untilStored(old);
    await untilCalled(server, 'joined');
  });

  test('are kept when the configurations are applied again, and written when they are made anew', async () => {
    await applyWebhookConfigurations(server, webhooks.port);
    await untilStored(old);
    await server.request('DELETE', configurationPath(configurations[0]!));
    await eventually(async () =>
      assert.equal(JSON.stringify((await create()).body).includes('cellmesh-sidecar'), false),
    );
    await applyWebhookConfigurations(server, webhooks.port);
    await untilStored(old);
    await untilCalled(server, 'joined');
  });

  test('follow a rotation, and no call fails, whichever root is behind the certificate', async () => {
    const isOver = new AbortController();
    const failures: string[] = [];
    let calls = 0;
    const calling = Promise.all(
      [1, 2].map(async () => {
        while (!isOver.signal.aborted) {
          const { status, body } = await create();
          calls++;
          if (status !== 201 || !JSON.stringify(body).includes('cellmesh-sidecar')) failures.push(JSON.stringify(body));
        }
      }),
    );
    const renewals = () => lines.with('certificate of the webhooks renewed').length;
    const some = async () => {
      const target = calls + 20;
      await eventually(() => assert.ok(calls >= target));
    };
    const step = async (...roots: readonly Authority[]) => {
      const before = renewals();
      setRoots(...roots);
      await untilStored(...roots);
      await eventually(() => assert.ok(renewals() > before));
      await some();
    };
    await step(old, next);
    signing = next;
    await step(old, next);
    await step(next);
    isOver.abort();
    await calling;
    assert.deepEqual(failures, []);
    assert.ok(calls >= 60, `${calls} calls`);
  });
});
