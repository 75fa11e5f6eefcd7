import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { ClusterPolicySource } from '#control-plane/controller/cluster-policy-source.ts';
import { Leadership } from '#control-plane/controller/leadership.ts';
import { StatusWriter } from '#control-plane/controller/status-writer.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  applyObject,
  conditionsOf,
  deleteEverything,
  deleteObject,
  prepareCluster,
  statusOf,
} from '../../support/kubernetes-policies.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';

const cell = (change: object = {}) =>
  stringify({
    apiVersion: 'cellmesh.io/v1alpha1',
    kind: 'Cell',
    metadata: { name: 'cell-1' },
    spec: {
      trustDomain: 'cell-1.example',
      domain: 'example',
      tokenIssuer: 'https://identity.example',
      scopes: { 'a:read': 'Read a.', 'a:write': 'Write a.' },
      ...change,
    },
  });

const policy = (name: string, spec: object = {}, namespace = 'messaging') =>
  stringify({
    apiVersion: 'cellmesh.io/v1alpha1',
    kind: 'ServicePolicy',
    metadata: { name, namespace },
    spec: { serviceAccount: name, mode: 'enforce', ports: [{ port: 80, protocol: 'http' }], ...spec },
  });

const allow = (scope: string) => ({ allow: [{ name: 'read', from: ['any'], scopes: [scope] }] });

const programs = kubernetesPrograms();
describe('policy from objects, against an API server', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    await prepareCluster(server);
  });
  after(() => server[Symbol.asyncDispose]());
  afterEach(() => deleteEverything(server));

  /** One that follows, and, where it leads, tells the status. */
  function start({ replica }: { replica?: string } = {}) {
    const stack = new AsyncDisposableStack();
    const { client } = server;
    const { logger, ...lines } = logLines();
    const common = { client, clock: systemClock, random: systemRandom, logger };
    const source = stack.use(new ClusterPolicySource(common));
    if (replica !== undefined) {
      const leadership = stack.use(new Leadership({ ...common, namespace: 'cellmesh', replica }));
      const { outcomes } = source;
      stack.use(new StatusWriter({ ...common, leadership, outcomes, reports: () => [], podsOf: () => 0 }));
    }
    return { source, lines, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  }

  const services = ({ source }: ReturnType<typeof start>) =>
    [...source.cell.current.compiled.snapshots.values()].map(({ service }) => service.name).sort();
  const scopesOf = ({ source }: ReturnType<typeof start>, name: string) =>
    [...source.cell.current.compiled.snapshots.values()]
      .find(({ service }) => service.name === name)
      ?.rules.flatMap(({ scopes }) => scopes);
  const accepted = async (text: string) => {
    const status = await statusOf(server, text);
    assert.equal(status.observedGeneration, await generationOf(text));
    return conditionsOf(status)['Accepted'];
  };
  async function generationOf(text: string): Promise<number> {
    const { kind, metadata } = parse(text);
    const path =
      kind === 'Cell' ? `cells/${metadata.name}` : `namespaces/${metadata.namespace}/servicepolicies/${metadata.name}`;
    const object = await server.send('GET', `/apis/cellmesh.io/v1alpha1/${path}`);
    return (object['metadata'] as { generation: number }).generation;
  }

  test('waits for a Cell and says so, and is the cell with its policies when it is there', async () => {
    await using replica = start({ replica: 'a' });
    await applyObject(server, policy('api', allow('a:read')));
    await eventually(() => assert.deepEqual(replica.source.problems, ['there is no Cell object in the cluster']));
    assert.throws(() => replica.source.cell);
    await applyObject(server, cell());
    await replica.source.whenLoaded;
    assert.equal(replica.source.cell.current.document.id, 'cell-1');
    assert.deepEqual(services(replica), ['messaging/api']);
    assert.deepEqual([...replica.source.cell.current.files.keys()], ['cell.yaml', 'messaging.api.policy.yaml']);
    await eventually(async () => assert.equal(await accepted(policy('api')), 'True InForce'));
    const { policies, policyVersion } = await eventually(async () => {
      const status = await statusOf(server, cell());
      assert.equal(conditionsOf(status)['Accepted'], 'True InForce');
      return status;
    });
    assert.deepEqual([policies, policyVersion], [1, replica.source.cell.current.compiled.version]);
  });

  test('is several Cells and therefore none, and each of them says why', async () => {
    const other = cell().replace('name: cell-1', 'name: cell-2').replace('cell-1.example', 'cell-2.example');
    await applyObject(server, cell());
    await applyObject(server, other);
    await using replica = start({ replica: 'a' });
    for (const text of [cell(), other])
      await eventually(async () => {
        const { problems } = await statusOf(server, text);
        assert.match(problems?.[0]?.message ?? '', /one Cell, and here are several: cell-1, cell-2/);
      });
    assert.throws(() => replica.source.cell);
    await deleteObject(server, other);
    await replica.source.whenLoaded;
    await applyObject(server, other);
    await eventually(() => assert.match(replica.source.problems.join(), /cannot become cell-2/));
    await eventually(async () => assert.equal(await accepted(other), 'False Refused'));
    assert.equal(replica.source.cell.current.document.id, 'cell-1');
  });

  test('keeps what was accepted of an object that is wrong now, tells which field, and goes on with the others', async () => {
    await applyObject(server, cell());
    await applyObject(server, policy('api', allow('a:read')));
    await applyObject(server, policy('mail', allow('a:read')));
    await using replica = start({ replica: 'a' });
    await eventually(async () => assert.equal(await accepted(policy('mail')), 'True InForce'));
    const wrong = policy('mail', allow('b:read'));
    await applyObject(server, wrong);
    await eventually(async () => assert.equal(await accepted(wrong), 'False Refused'));
    const { problems, conditions } = await statusOf(server, wrong);
    assert.deepEqual(problems, [
      {
        field: 'spec.allow[0]',
        message: 'scope b:read is not in the catalogue of Cell cell-1 (Cell.spec.scopes)',
      },
    ]);
    assert.match(conditions?.[0]?.message ?? '', /generation 1 stays in force$/);
    assert.deepEqual(scopesOf(replica, 'messaging/mail'), ['a:read']);
    await applyObject(server, policy('api', allow('a:write')));
    await eventually(() => assert.deepEqual(scopesOf(replica, 'messaging/api'), ['a:write']));

    // A replica that starts now has never seen the good form.
    await using second = start();
    await second.source.whenLoaded;
    assert.equal(second.source.cell.current.compiled.version, replica.source.cell.current.compiled.version);
    assert.deepEqual(scopesOf(second, 'messaging/mail'), ['a:read']);

    await applyObject(server, policy('mail', allow('a:write')));
    await eventually(async () => assert.equal(await accepted(policy('mail')), 'True InForce'));
    for (const one of [replica, second])
      await eventually(() => assert.deepEqual(scopesOf(one, 'messaging/mail'), ['a:write']));
  });

  test('has nothing of an object that never was good', async () => {
    await applyObject(server, cell());
    await using replica = start({ replica: 'a' });
    const wrong = policy('mail', allow('b:read'));
    await applyObject(server, wrong);
    await applyObject(server, policy('api'));
    await eventually(() => assert.deepEqual(services(replica), ['messaging/api']));
    await eventually(async () => assert.equal(await accepted(wrong), 'False Refused'));
    assert.match((await statusOf(server, wrong)).conditions![0]!.message, /nothing of it is in force$/);
  });

  test('has a caller without the call while its callee is not there, whatever the order', async () => {
    await applyObject(server, cell());
    await using replica = start({ replica: 'a' });
    const caller = policy('api', { calls: [{ to: 'messaging/mail' }] });
    await applyObject(server, caller);
    await eventually(async () => assert.equal(await accepted(caller), 'True InForceInPart'));
    const absent = [{ field: 'spec.calls[0]', message: 'no manifest declares messaging/mail' }];
    assert.deepEqual((await statusOf(server, caller)).problems, absent);
    assert.deepEqual(services(replica), ['messaging/api']);
    await applyObject(server, policy('mail'));
    await eventually(async () => assert.equal(await accepted(caller), 'True InForce'));
    await deleteObject(server, policy('mail'));
    await eventually(async () => assert.equal(await accepted(caller), 'True InForceInPart'));
    const snapshot = [...replica.source.cell.current.compiled.snapshots.values()];
    assert.deepEqual(
      snapshot.map(({ service, calls }) => [service.name, calls.length]),
      [['messaging/api', 0]],
    );
  });

  test('leaves a host to the one that has it, and of two new ones gives it to the older', async () => {
    await applyObject(server, cell());
    await using replica = start({ replica: 'a' });
    await applyObject(server, policy('zeta', { hosts: ['h.example'] }));
    await eventually(async () => assert.equal(await accepted(policy('zeta')), 'True InForce'));
    await applyObject(server, policy('alpha', { hosts: ['h.example'] }));
    await eventually(async () => assert.equal(await accepted(policy('alpha')), 'False Refused'));
    assert.match((await statusOf(server, policy('alpha'))).problems![0]!.message, /belongs to messaging\/zeta already/);
    assert.deepEqual(services(replica), ['messaging/zeta']);
    await deleteObject(server, policy('zeta'));
    await eventually(() => assert.deepEqual(services(replica), ['messaging/alpha']));
  });

  test('does not take up a Cell that contradicts what is in force', async () => {
    await applyObject(server, cell());
    await applyObject(server, policy('api', allow('a:write')));
    await using replica = start({ replica: 'a' });
    await eventually(async () => assert.equal(await accepted(cell()), 'True InForce'));
    await eventually(async () => assert.equal(await accepted(policy('api')), 'True InForce'));
    const smaller = cell({ scopes: { 'a:read': 'Read a.' } });
    await applyObject(server, smaller);
    await eventually(async () => assert.equal(await accepted(smaller), 'False Refused'));
    assert.match(
      (await statusOf(server, smaller)).problems![0]!.message,
      /^ServicePolicy messaging\/api: scope a:write is not/,
    );
    assert.deepEqual(scopesOf(replica, 'messaging/api'), ['a:write']);
    await using second = start();
    await second.source.whenLoaded;
    assert.equal(second.source.cell.current.compiled.version, replica.source.cell.current.compiled.version);
  });

  test('writes a status once, and not again while nothing changes', async () => {
    await applyObject(server, cell());
    await applyObject(server, policy('api'));
    await using replica = start({ replica: 'a' });
    await eventually(async () => assert.equal(await accepted(policy('api')), 'True InForce'));
    const versionOf = async () => {
      const path = '/apis/cellmesh.io/v1alpha1/namespaces/messaging/servicepolicies/api';
      return ((await server.send('GET', path))['metadata'] as { resourceVersion: string }).resourceVersion;
    };
    const before = await versionOf();
    await applyObject(server, policy('mail'));
    await eventually(async () => assert.equal(await accepted(policy('mail')), 'True InForce'));
    assert.equal(await versionOf(), before, 'it is in force as before, whatever the others are');
    assert.deepEqual(services(replica), ['messaging/api', 'messaging/mail']);
  });
});
