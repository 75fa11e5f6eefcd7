import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import { applyDefinitions } from '../../kubernetes/policy-objects.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { testAuthority } from '../../support/test-authority.ts';
import {
  applyWebhookConfigurations,
  type FollowedManifests,
  followManifests,
  startWebhooks,
  untilCalled,
} from '../../support/webhooks.ts';

const programs = kubernetesPrograms();

const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { mail:read: Read mail., mail:send: Send mail. }
`;

const policy = (name: string, rest = '', namespace = 'mail') => `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 80, protocol: http }]
${rest}`;

const rule = (scope: string, more = '') =>
  `  allow: [{ name: read, from: [mail/reader], http: { methods: [GET], paths: [/mail] }, scopes: [${scope}]${more} }]\n`;

describe('kubectl, with a manifest that no schema can refuse', { skip: 'skip' in programs && programs.skip }, () => {
  const stack = new AsyncDisposableStack();
  let server: KubernetesServer;
  let manifests: FollowedManifests;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await applyDefinitions(server);
    await server.send('POST', '/api/v1/namespaces', {
      metadata: { name: 'joined', labels: { 'cellmesh.io/inject': 'enabled' } },
    });
    manifests = stack.use(followManifests(server));
    const { authority } = await testAuthority(systemClock);
    const webhooks = stack.use(await startWebhooks(server, { authority, manifests }));
    await applyWebhookConfigurations(server, webhooks.port);
    await untilCalled(server, 'joined');
    // The first Cell is let through by whoever cannot ask; from here on the webhook is asked.
    await eventually(async () => assert.match(await kubectl('apply', policy('early')), /there is no Cell yet/));
    assert.equal(
      await kubectl('delete', policy('early')),
      'servicepolicy.cellmesh.io "early" deleted from mail namespace\n',
    );
    assert.equal(await kubectl('apply', cell), 'cell.cellmesh.io/cell-1 created\n');
    await untilKnown('Cell cell-1');
  });
  after(() => stack[Symbol.asyncDispose]());

  /** What it prints, whatever it ends with. */
  async function kubectl(verb: string, text: string): Promise<string> {
    assert.ok(!('skip' in programs));
    const file = join(server.directory, 'given.yaml');
    await writeFile(file, text);
    const args = ['--kubeconfig', server.kubeconfig, verb, '-f', file];
    return await new Promise((resolve) =>
      execFile(programs.kubectl, args, (_, stdout, stderr) =>
        resolve((stderr + stdout).replaceAll(file, 'given.yaml')),
      ),
    );
  }

  async function untilKnown(file: string): Promise<void> {
    await eventually(() => {
      const current = manifests.current();
      assert.ok([current?.cell, ...(current?.policies ?? [])].some((one) => one?.file === file));
    });
  }

  async function created(text: string, file: string): Promise<void> {
    assert.match(await kubectl('apply', text), / (created|configured)\n$/);
    await untilKnown(file);
  }

  const denied = (object: string) => `admission webhook "policies.cellmesh.io" denied the request: ${object}`;

  test('is told field and reason of a scope that is in no catalogue', async () => {
    assert.equal(
      await kubectl('create', policy('inbox', rule('mail:reed'))),
      `Error from server (Forbidden): error when creating "given.yaml": ${denied(
        'ServicePolicy mail/inbox: spec.allow[0]: scope mail:reed is not in the catalogue of Cell cell-1 (Cell.spec.scopes)',
      )}\n`,
    );
  });

  test('is told all that is wrong, a line each, and what to do', async () => {
    const text = policy('inbox', rule('mail:reed', ', until: "2020-01-01T00:00:00Z"'));
    const printed = await kubectl('create', text);
    assert.match(
      printed,
      /denied the request: ServicePolicy mail\/inbox:\n- spec\.allow\[0\]: scope mail:reed is not .*\n- spec\.allow\[0\]: .* \(rule-expired\)\. Remove the rule, or extend it\.\n$/,
    );
  });

  test('is told what the reader sees and CEL does not', async () => {
    const text = policy('inbox', rule('mail:read')).replace('paths: [/mail]', 'paths: ["/%41"]');
    assert.match(
      await kubectl('create', text),
      /denied the request: ServicePolicy mail\/inbox: spec\.allow\[0\]\.http\.paths\[0\]: /,
    );
  });

  test('is told whose a service account or a host is already', async () => {
    await created(policy('one'), 'ServicePolicy mail/one');
    const second = policy('second').replace('serviceAccount: second', 'serviceAccount: one');
    assert.match(
      await kubectl('create', second),
      /ServicePolicy mail\/second: a second manifest for mail\/one; the first is in ServicePolicy mail\/one\n/,
    );
    assert.match(
      await kubectl('create', policy('two', '  hosts: [two, one.mail]\n')),
      /ServicePolicy mail\/two: spec\.hosts\[1\]: host one\.mail belongs to mail\/one already \(ServicePolicy mail\/one\)/,
    );
  });

  test('may say a call before there is whom it calls, in whatever order documents come, and is told so', async () => {
    const calls = (to: string) => `  calls: [{ to: mail/${to} }]\n`;
    const first = await kubectl('apply', policy('ping', calls('pong')));
    assert.match(
      first,
      /^Warning: spec\.calls\[0\]: no manifest declares mail\/pong: the call is left out until there is one\n/,
    );
    assert.match(first, /created\n$/);
    await untilKnown('ServicePolicy mail/ping');
    assert.doesNotMatch(await kubectl('apply', policy('pong', calls('ping'))), /no manifest declares/);
    await untilKnown('ServicePolicy mail/pong');
  });

  test('is warned in the words of the linter', async () => {
    const both = `  allow:
    - { name: all, from: [any], http: { methods: [GET], paths: [/**] }, scopes: [mail:read] }
    - { name: part, from: [any], http: { methods: [GET], paths: [/mail] }, scopes: [mail:read] }
`;
    const printed = await kubectl('create', policy('shadow', both));
    assert.match(printed, /Warning: spec\.allow\[0\]: .*\(any\)\n/);
    assert.match(printed, /Warning: spec\.allow\[1\]: .*\(rule-shadowed\)\n/);
    assert.match(printed, /created\n$/);
  });

  test('is told that there is one cell, and when a change of it would break policies', async () => {
    const other = cell.replace('name: cell-1', 'name: cell-2');
    assert.match(
      await kubectl('create', other),
      /webhook "cells\.policies\.cellmesh\.io" denied the request: Cell cell-2: there is a Cell cell-1 already, and a cluster is one cell/,
    );
    await created(policy('reader', rule('mail:send')), 'ServicePolicy mail/reader');
    const smaller = cell.replace(', mail:send: Send mail.', '');
    assert.match(
      await kubectl('apply', smaller),
      /denied the request: Cell cell-1: ServicePolicy mail\/reader: scope mail:send is not in the catalogue/,
    );
    assert.match(
      await kubectl('delete', cell),
      /\d ServicePolicy objects still stand in the cluster, and mean nothing without their Cell: delete those first/,
    );
  });

  test('may take policies away, and then the cell', async () => {
    await server.send('DELETE', '/apis/cellmesh.io/v1alpha1/namespaces/mail/servicepolicies');
    await eventually(() => assert.equal(manifests.current()?.policies.length, 0));
    assert.match(await kubectl('delete', cell), /"cell-1" deleted/);
  });
});
