import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { parseKubeconfig } from '#kubernetes/kubeconfig.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { Mutator } from '../../fuzz/mutate.ts';

const pem = '-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n';
const base64 = Buffer.from(pem).toString('base64');

interface Parts {
  readonly cluster?: Readonly<Record<string, unknown>>;
  readonly user?: Readonly<Record<string, unknown>>;
  readonly rest?: Readonly<Record<string, unknown>>;
}

function kubeconfig({ cluster = {}, user = { token: 'abc.def' }, rest = {} }: Parts = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    preferences: {},
    'current-context': 'here',
    contexts: [
      { name: 'there', context: { cluster: 'two', user: 'nobody' } },
      { name: 'here', context: { cluster: 'one', user: 'me', namespace: 'shop' } },
    ],
    clusters: [
      { name: 'two', cluster: { server: 'https://two.example.com' } },
      {
        name: 'one',
        cluster: { server: 'https://one.example.com:6443', 'certificate-authority-data': base64, ...cluster },
      },
    ],
    users: [{ name: 'me', user }],
    ...rest,
  });
}

const fileOf = (text: string, name = 'config.yaml') => ({ text, name, directory: '/etc/kube' });
const parse = (text: string) => parseKubeconfig([fileOf(text)]);

describe('a kubeconfig', () => {
  test('names the cluster and the user of the current context', () => {
    const access = parse(kubeconfig());
    assert.equal(access.server.href, 'https://one.example.com:6443/');
    assert.deepEqual(access.authority, { value: pem });
    assert.ok(access.token !== undefined && 'value' in access.token);
    assert.equal(access.token.value.reveal(), 'abc.def');
    assert.doesNotMatch(inspect(access, { depth: 9 }), /abc\.def/);
  });

  test('may be YAML, and name files, which lie beside it', () => {
    const { authority, certificate } = parse(`
current-context: here
contexts: [{ name: here, context: { cluster: one, user: me } }]
clusters: [{ name: one, cluster: { server: "https://[::1]:6443/api-proxy/", certificate-authority: pki/ca.crt, tls-server-name: kube } }]
users: [{ name: me, user: { client-certificate: me.crt, client-key: /keys/me.key } }]
`);
    assert.deepEqual(authority, { file: '/etc/kube/pki/ca.crt' });
    assert.deepEqual(certificate, { chain: { file: '/etc/kube/me.crt' }, key: { file: '/keys/me.key' } });
  });

  test('may hold certificate and key itself; data wins over a file, a token file over a token', () => {
    const user = {
      'client-certificate-data': base64,
      'client-key-data': base64,
      'client-key': 'x',
      token: 'a',
      tokenFile: 't',
    };
    const { certificate, token } = parse(kubeconfig({ user }));
    assert.deepEqual(certificate?.chain, { value: pem });
    assert.ok(certificate !== undefined && 'value' in certificate.key && certificate.key.value instanceof Secret);
    assert.deepEqual(token, { file: '/etc/kube/t' });
  });

  const refusals: Readonly<Record<string, readonly [string, RegExp]>> = {
    'that runs a program': [kubeconfig({ user: { exec: { command: 'aws' } } }), /it runs a program \(`exec`\)/],
    'with an auth provider': [kubeconfig({ user: { 'auth-provider': { name: 'gcp' } } }), /auth-provider/],
    'with a password': [kubeconfig({ user: { username: 'a', password: 'b' } }), /passwords/],
    'that impersonates': [kubeconfig({ user: { token: 'a', as: 'root' } }), /impersonation/],
    'that does not look at certificates': [
      kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } }),
      /insecure-skip-tls-verify/,
    ],
    'with a proxy': [kubeconfig({ cluster: { 'proxy-url': 'http://p' } }), /proxy-url/],
    'over plain HTTP': [kubeconfig({ cluster: { server: 'http://one.example.com' } }), /https URL/],
    'with a password in the URL': [kubeconfig({ cluster: { server: 'https://a:b@one.example.com' } }), /https URL/],
    'with no URL': [kubeconfig({ cluster: { server: 'one.example.com' } }), /https URL/],
    'with no server': [kubeconfig({ cluster: { server: null } }), /the cluster has no `server`/],
    'with data that is no base64': [kubeconfig({ cluster: { 'certificate-authority-data': '!!' } }), /base64 of PEM/],
    'with data that is no PEM': [kubeconfig({ cluster: { 'certificate-authority-data': 'AAAA' } }), /base64 of PEM/],
    'with a certificate and no key': [kubeconfig({ user: { 'client-certificate': 'a' } }), /belong together/],
    'with nobody in it': [kubeconfig({ user: {} }), /neither a token nor a client certificate/],
    'with a token of two lines': [kubeconfig({ user: { token: 'a\r\nx-admin: 1' } }), /not a bearer token/],
    'with a number as a token': [kubeconfig({ user: { token: 12 } }), /`token` must be text/],
    'with a map as a token': [kubeconfig({ user: { token: { a: 1 } } }), /`token` must be a single value/],
    'without a current context': [kubeconfig({ rest: { 'current-context': '' } }), /no `current-context`/],
    'whose context is not there': [kubeconfig({ rest: { 'current-context': 'gone' } }), /no context `gone`/],
    'whose user is not there': [kubeconfig({ rest: { users: [] } }), /no user `me`/],
    'whose clusters are no list': [kubeconfig({ rest: { clusters: { one: {} } } }), /no cluster `one`/],
    'that is a list': ['[]', /one map is expected/],
    'of two documents': ['a: 1\n---\nb: 2\n', /one map is expected/],
    'that is empty': ['', /one map is expected/],
    'with aliases': ['a: &a [x]\nb: *a\n', /anchors and aliases/],
    'that is nested without end': ['['.repeat(100_000), /nested deeper|document_invalid|./],
  };
  for (const [which, [text, reason]] of Object.entries(refusals)) {
    test(`${which} is refused`, () => {
      assert.throws(
        () => parse(text),
        (error) =>
          (isCellmeshError(error, 'config_invalid') || isCellmeshError(error, 'document_invalid')) &&
          reason.test(error.message) &&
          error.message.includes('config.yaml'),
      );
    });
  }

  test('lets nothing but typed errors escape, whatever its bytes are', () => {
    const mutator = new Mutator([kubeconfig(), kubeconfig({ user: { tokenFile: 'x' } }), '{a: [&b {"c": *b}]}'], 7);
    for (let count = 0; count < 2_000; count++) {
      try {
        parse(mutator.next().toString('latin1'));
      } catch (error) {
        assert.ok(isCellmeshError(error), String(error));
      }
    }
  });
});

describe('a kubeconfig whose user has a plugin', () => {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: './bin/login',
    args: ['get-token', '--cluster', 'one'],
    env: [{ name: 'PROFILE', value: 'work' }],
    interactiveMode: 'Never',
    installHint: 'brew install login',
    provideClusterInfo: true,
  };
  const extensions = [{ name: 'client.authentication.k8s.io/exec', extension: { audience: ['a', { b: 1 }] } }];
  const pluginOf = (fields: object) =>
    parseKubeconfig([fileOf(kubeconfig({ cluster: { extensions }, user: { exec: { ...exec, ...fields } } }))], {
      takesPlugins: true,
    }).plugin;

  test('says what is to be run, and what is told to it', () => {
    assert.deepEqual(pluginOf({}), {
      apiVersion: exec.apiVersion,
      command: '/etc/kube/bin/login',
      args: exec.args,
      env: { PROFILE: 'work' },
      interactiveMode: 'Never',
      installHint: exec.installHint,
      cluster: {
        server: 'https://one.example.com:6443',
        authority: { value: pem },
        config: { audience: ['a', { b: 1 }] },
      },
    });
  });

  test('need not say more than a command', () => {
    const apiVersion = 'client.authentication.k8s.io/v1beta1';
    const nothing = { args: null, env: null, interactiveMode: null, installHint: null, provideClusterInfo: false };
    const plugin = pluginOf({ ...nothing, apiVersion, command: 'login' });
    assert.deepEqual(plugin, { apiVersion, command: 'login', args: [], env: {}, interactiveMode: 'IfAvailable' });
  });

  const refused: Readonly<Record<string, readonly [object, RegExp]>> = {
    'of a version that is gone': [{ apiVersion: 'client.authentication.k8s.io/v1alpha1' }, /`apiVersion` other than/],
    'without a command': [{ command: '' }, /`exec` has no `command`/],
    'of v1 that does not say whether it asks': [{ interactiveMode: null }, /one of Never, IfAvailable, Always/],
    'with a number as an argument': [{ args: [1] }, /`args` of `exec` must be text/],
    'with a NUL in an argument': [{ args: ['a\0secret'] }, /`args` of `exec` must be text/],
    'with arguments that are no list': [{ args: 'a' }, /`args` must be a list/],
    'with a variable without a name': [{ env: [{ value: 'secret' }] }, /`env` of `exec` has no `name`/],
    'with a number as a variable': [{ env: [{ name: 'a', value: 1 }] }, /`value` of `exec` must be text/],
  };
  for (const [which, [fields, reason]] of Object.entries(refused)) {
    test(`${which} is refused`, () => {
      const isMeant = (error: Error) =>
        isCellmeshError(error, 'config_invalid') && reason.test(error.message) && !/secret/.test(error.message);
      assert.throws(() => pluginOf(fields), isMeant);
    });
  }

  test('has no other credentials', () => {
    const both = fileOf(kubeconfig({ user: { exec, token: 'a' } }));
    assert.throws(() => parseKubeconfig([both], { takesPlugins: true }), /which is meant/);
  });
});

describe('a kubeconfig of several files', () => {
  const files = [
    { ...fileOf(JSON.stringify({ users: [{ name: 'me', user: { tokenFile: 'mine' } }] }), 'first'), directory: '/a' },
    fileOf(kubeconfig({ user: { token: 'second' } }), 'second'),
    fileOf(kubeconfig({ rest: { 'current-context': 'there' } }), 'third'),
  ];

  test('is what the first one says that says it, with paths that begin at that one', () => {
    const { server, token } = parseKubeconfig(files);
    assert.equal(server.href, 'https://one.example.com:6443/');
    assert.deepEqual(token, { file: '/a/mine' });
  });

  test('says where nothing was found', () => {
    assert.throws(() => parseKubeconfig(files, { context: 'gone' }), /first: there is no context `gone`, nor in the/);
    assert.throws(() => parseKubeconfig([files[0]!]), /first: the file has no `current-context`$/);
  });
});

describe('the cluster in which a process runs', () => {
  test('is where its variables say, with the token and the authority that the kubelet provides', async () => {
    const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const { server, authority, token } = await readClusterAccess('in-cluster', environment);
    assert.equal(server.href, 'https://[fd00::1]/');
    assert.deepEqual(authority, { file: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt' });
    assert.deepEqual(token, { file: '/var/run/secrets/kubernetes.io/serviceaccount/token' });
  });

  test('is nowhere without them', async () => {
    await assert.rejects(readClusterAccess('in-cluster', {}), (error) => isCellmeshError(error, 'config_invalid'));
  });
});
