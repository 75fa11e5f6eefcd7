import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { request } from 'undici';
import { openWebhooks } from '#control-plane/webhook/open-webhooks.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { grantDocumentedRights } from '../../support/documented-rights.ts';
import { injectorSettingsText } from '../../support/injected-pods.ts';
import { startKubernetes } from '../../support/kubernetes.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { serviceNames } from '../../support/messaging-application.ts';
import { startCell } from '../../support/start-cell.ts';
import { testAuthority } from '../../support/test-authority.ts';
import { applyWebhookConfigurations, untilCalled } from '../../support/webhooks.ts';

const programs = kubernetesPrograms();

describe('a control plane with webhooks', () => {
  test('is called by the API server, with the rights that are documented', {
    skip: 'skip' in programs && programs.skip,
  }, async () => {
    assert.ok(!('skip' in programs));
    await using server = await startKubernetes(programs);
    await server.send('POST', '/api/v1/namespaces', {
      metadata: { name: 'joined', labels: { 'cellmesh.io/inject': 'enabled' } },
    });
    const injector = join(server.directory, 'injector.yaml');
    await writeFile(injector, injectorSettingsText());
    const kubernetes = await grantDocumentedRights(server);
    await using cell = await startCell({
      withoutSidecars: serviceNames,
      controlPlaneFlags: { kubernetes, injector, webhook: '127.0.0.1:0', webhookHost: 'localhost' },
    });
    const { webhookPort, healthPort } = cell.controlPlane;
    assert.equal(await applyWebhookConfigurations(server, webhookPort!), '');
    await untilCalled(server, 'joined');
    assert.equal(cell.controlPlane.notReady().filter((reason) => reason.startsWith('webhooks')).length, 0);
    const { body } = await request(`http://127.0.0.1:${healthPort}/metrics`);
    const metrics = await body.text();
    assert.match(metrics, /^cellmesh_admissions_total\{webhook="inject",outcome="injected"\} \d+$/m);
    assert.match(metrics, /^cellmesh_admission_duration_seconds_count\{webhook="inject"\} \d+$/m);
    assert.match(metrics, /^cellmesh_webhook_roots_current 1$/m);
    assert.match(metrics, /^cellmesh_injector_settings_refused 0$/m);
  });

  test('does not start without a cluster that could call, or settings of what it injects', async () => {
    const { authority } = await testAuthority(systemClock);
    const open = (config: { injector?: string }) =>
      openWebhooks({
        ...{ clock: systemClock, random: systemRandom, logger: silentLogger },
        config: {
          webhook: { host: '127.0.0.1', port: 0 },
          ...{ webhookHost: undefined, injector: undefined },
          ...config,
        },
        ...{ connection: undefined, authority, manifests: { current: () => undefined } },
      });
    const isAbout = (what: RegExp) => (error: unknown) =>
      isCellmeshError(error, 'config_invalid') && what.test(error.message);
    await assert.rejects(open({ injector: 'injector.yaml' }), isAbout(/needs --kubernetes/));
    await assert.rejects(open({}), isAbout(/needs --injector/));
  });
});
