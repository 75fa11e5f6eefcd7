import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { exchanged, http2Frames, overHttp2 } from '../../support/raw-request.ts';
import { type SmugglingCase, smugglingCases } from '../../support/smuggling-cases.ts';
import { type Mesh, startMesh } from '../../support/start-mesh.ts';
import { block, frame } from '../../wire/support/http2-frames.ts';

/*
 * PAINS.md P12: one message that two parsers cut in different places. llhttp CVE-2019-15605, CVE-2021-22959, CVE-2021-22960, CVE-2022-32213,
 * CVE-2022-32214, CVE-2022-32215, CVE-2022-35256 and CVE-2023-30589 are among the cases that test/wire/smuggling.test.ts has too; there every
 * split of the bytes is tried, here two sidecars and an application of `node:http` are real.
 */

let mesh: Mesh;
before(async () => {
  mesh = await startMesh({ editManifests: allowAll });
});
after(() => mesh[Symbol.asyncDispose]());

/** `api` may send anything to `messaging`, which is called `a`, but for what is below `/admin`; nobody needs a token. */
function allowAll(text: string): string {
  return text
    .replace(
      /serviceAccount: messaging\n {2}mode: enforce\n(.*)\n {2}allow:\n/,
      (_, ports: string) => `serviceAccount: messaging
  mode: enforce
  hosts: [a, messaging]
${ports}
  allow:
    - { name: all, from: [messaging/api], http: { paths: [/, /p, /x, "/last"] }, account: none }
`,
    )
    .replace('carry: [messages:read, messages:write]', 'carry: []');
}

type Side = 'inbound' | 'outbound';

async function open(side: Side, protocol: 'http/1.1' | 'h2'): Promise<Duplex> {
  const { api } = mesh.services;
  if (side === 'inbound') return mesh.dialAs(api.id, 'messaging', protocol);
  const socket = connect(api.dataPlane.outboundPort!, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

/** What the application got must be what was permitted, one for one and in order. */
async function received(before: number, recordsBefore: number, answered: number): Promise<number> {
  const { application, records } = mesh.services.messaging;
  const served = application.received.slice(before);
  const permits = await eventually(() => {
    const found = records.slice(recordsBefore).filter(({ outcome, status }) => outcome === 'permit' && status === 200);
    assert.equal(found.length, answered);
    return found;
  });
  assert.deepEqual(
    served.map(({ method, url }) => ({ method, path: url.split('?', 1)[0] })),
    permits.map(({ method, path }) => ({ method, path })),
  );
  return served.length;
}

/** Where the sidecar is stricter than its engine: `*` is no path that policy could decide on. */
const ofSidecar: Readonly<Record<string, readonly number[]>> = { 'the asterisk form': [400] };
const last = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

for (const side of ['inbound', 'outbound'] as const) {
  describe(`${side}, HTTP/1.1`, () => {
    for (const one of smugglingCases) {
      // The port of applications takes HTTP/2 too: there this is no request of HTTP/1.1.
      if (side === 'outbound' && one.name === 'the preface of HTTP/2') continue;
      test(titleOf(one), () => assertCut(side, one));
    }

    test('an upgrade that the application does not take up leaves requests that are decided', async () => {
      const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 777\r\n';
      for (const offer of [
        `Connection: Upgrade\r\nUpgrade: websocket\r\n${key}`,
        'Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
        'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
        'Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n',
      ]) {
        const { application } = mesh.services.messaging;
        const before = application.received.length;
        const bytes = `GET /x HTTP/1.1\r\nHost: a\r\n${offer}\r\nGET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
        const answer = String(await exchanged(await open(side, 'http/1.1'), Buffer.from(bytes), () => false));
        const [first, ...more] = statusesOf(answer);
        assert.ok([200, 400, 426].includes(first!), answer);
        assert.ok(
          more.every((status) => status === 403),
          answer,
        );
        const served = application.received.slice(before);
        assert.ok(
          served.every(
            ({ url, headers }) => url === '/x' && !('http2-settings' in headers) && headers.upgrade !== 'h2c',
          ),
        );
      }
    });
  });
}

function titleOf({ name, statuses }: SmugglingCase): string {
  return `${statuses[0] === 200 ? 'passes' : statuses[0]}: ${name}`;
}

/** Bytes that pass are followed by a request that ends the connection, so that everything that was served has been answered. */
async function assertCut(side: Side, { name, bytes, statuses }: SmugglingCase): Promise<void> {
  const { application, records } = mesh.services.messaging;
  const [before, recordsBefore] = [application.received.length, records.length];
  const isPassed = statuses[0] === 200;
  const sent = Buffer.from(isPassed ? bytes + last : bytes, 'latin1');
  const expected = isPassed ? [...(ofSidecar[name] ?? statuses), 200] : statuses;
  const answer = String(await exchanged(await open(side, 'http/1.1'), sent, () => false));
  assert.deepEqual(statusesOf(answer), expected, answer);
  const count = expected.filter((status) => status === 200).length;
  assert.equal(await received(before, recordsBefore, count), count);
}

function statusesOf(answer: string): number[] {
  return [...answer.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status));
}

async function sendHttp2(side: Side, fields: readonly Field[], body: string | undefined): Promise<number | undefined> {
  const head = frame('HEADERS', body === undefined ? 5 : 4, 1, block(...fields));
  const rest = body === undefined ? [] : [frame('DATA', 1, 1, body)];
  return (await overHttp2(await open(side, 'h2'), http2Frames(head, ...rest))).status;
}

type Field = readonly [name: string, value: string];
const base: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', 'a'],
  [':path', '/p'],
];
const without = (name: string) => base.filter(([one]) => one !== name);
const replaced = (name: string, value: string): Field[] => base.map(([one, was]) => [one, one === name ? value : was]);
const smuggled = 'GET /admin HTTP/1.1\r\nHost: a\r\n\r\n';

const withLength = (...lengths: readonly string[]): Field[] => [
  ...replaced(':path', '/x'),
  ...lengths.map((length) => ['content-length', length] as const),
];

/** The head is sound, and on its way before the body shows what it is. What arrives is that head, with a body as long as it says or none at all. */
const lyingLengths: readonly { readonly name: string; readonly fields: readonly Field[]; readonly body: string }[] = [
  { name: 'a length of nothing before a body (H2.CL)', fields: withLength('0'), body: smuggled },
  { name: 'a length that is too short', fields: withLength('3'), body: `abc${smuggled}` },
  { name: 'a length that is too long', fields: withLength('300'), body: 'abc' },
];

/** RFC 9113 8.1 to 8.3: what becomes two messages when somebody writes it down as HTTP/1.1. */
const http2Cases: readonly { readonly name: string; readonly fields: readonly Field[]; readonly body?: string }[] = [
  { name: 'two lengths', fields: [...base, ['content-length', '3'], ['content-length', '3']], body: 'abc' },
  { name: 'a length that is no number', fields: [...base, ['content-length', '+3']], body: 'abc' },
  { name: 'a coding (H2.TE)', fields: [...base, ['transfer-encoding', 'chunked']], body: `0\r\n\r\n${smuggled}` },
  { name: 'a coding in capitals', fields: [...base, ['Transfer-Encoding', 'chunked']], body: `0\r\n\r\n${smuggled}` },
  { name: 'a line break in a value', fields: [...base, ['x', `a\r\ntransfer-encoding: chunked\r\n\r\n${smuggled}`]] },
  { name: 'a line feed in a value', fields: [...base, ['x', 'a\ntransfer-encoding: chunked']] },
  { name: 'a carriage return in a value', fields: [...base, ['x', 'a\rb']] },
  { name: 'NUL in a value', fields: [...base, ['x', 'a\0b']] },
  { name: 'a space before a value', fields: [...base, ['x', ' a']] },
  { name: 'a tab after a value', fields: [...base, ['x', 'a\t']] },
  { name: 'a line break in a name', fields: [...base, ['x: a\r\ntransfer-encoding', 'chunked']] },
  { name: 'a colon in a name', fields: [...base, ['transfer-encoding: chunked', '']] },
  { name: 'a space in a name', fields: [...base, ['transfer-encoding ', 'chunked']] },
  { name: 'capitals in a name', fields: [...base, ['X-Any', 'a']] },
  { name: 'an empty name', fields: [...base, ['', 'a']] },
  { name: 'a request line in the path', fields: replaced(':path', `/p HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`) },
  { name: 'a space in the path', fields: replaced(':path', '/p HTTP/1.1') },
  { name: 'a fragment in the path', fields: replaced(':path', '/p#/x') },
  { name: 'an empty path', fields: replaced(':path', '') },
  { name: 'a path without a slash', fields: replaced(':path', 'p') },
  { name: 'a URI for a path', fields: replaced(':path', 'http://a/p') },
  { name: 'an asterisk for a path', fields: replaced(':path', '*') },
  { name: 'a request line in the method', fields: replaced(':method', 'GET /admin HTTP/1.1\r\nx:') },
  { name: 'a space in the method', fields: replaced(':method', 'POST /p') },
  { name: 'another scheme', fields: replaced(':scheme', 'file') },
  { name: 'a target in the scheme', fields: replaced(':scheme', 'http://a/admin?') },
  { name: 'a line break in the authority', fields: replaced(':authority', 'a\r\nx: y') },
  { name: 'user information in the authority', fields: replaced(':authority', 'u@a') },
  { name: 'a path in the authority', fields: replaced(':authority', 'a/admin') },
  { name: 'another host than the authority', fields: [...base, ['host', 'b']] },
  { name: 'two hosts', fields: [...without(':authority'), ['host', 'a'], ['host', 'a']] },
  { name: 'no host', fields: without(':authority') },
  { name: 'no path', fields: without(':path') },
  { name: 'no method', fields: without(':method') },
  { name: 'no scheme', fields: without(':scheme') },
  { name: 'two paths', fields: [...base, [':path', '/x']] },
  { name: 'two methods', fields: [...base, [':method', 'GET']] },
  { name: 'two authorities', fields: [...base, [':authority', 'a']] },
  { name: 'a pseudo-header field after others', fields: [...without(':path'), ['x', 'a'], [':path', '/p']] },
  { name: 'a pseudo-header field of responses', fields: [...base, [':status', '200']] },
  { name: 'a pseudo-header field that nobody knows', fields: [...base, [':x', 'a']] },
  { name: ':protocol without CONNECT', fields: [...base, [':protocol', 'websocket']] },
  { name: 'CONNECT with a path', fields: replaced(':method', 'CONNECT') },
  { name: 'connection', fields: [...base, ['connection', 'close']] },
  { name: 'keep-alive', fields: [...base, ['keep-alive', 'timeout=5']] },
  { name: 'proxy-connection', fields: [...base, ['proxy-connection', 'keep-alive']] },
  { name: 'upgrade', fields: [...base, ['upgrade', 'h2c']] },
  { name: 'te for codings', fields: [...base, ['te', 'gzip']] },
];

for (const side of ['inbound', 'outbound'] as const) {
  describe(`${side}, HTTP/2: what would be two messages behind us is none`, () => {
    for (const { name, fields, body } of http2Cases) {
      test(name, async () => {
        const { received } = mesh.services.messaging.application;
        const before = received.length;
        assert.equal((await sendHttp2(side, fields, body)) ?? 400, 400);
        // One with a length that lied may come late.
        assert.deepEqual(
          received.slice(before).filter(({ url }) => url !== '/x'),
          [],
        );
      });
    }

    test('and what is one, is one', async () => {
      const { application, records } = mesh.services.messaging;
      const [before, recordsBefore] = [application.received.length, records.length];
      const fields = [...base, ['content-length', '3'], ['host', 'a'], ['te', 'trailers']] as const;
      const frames = [frame('HEADERS', 4, 1, block(...fields)), frame('DATA', 1, 1, 'abc')];
      assert.equal((await overHttp2(await open(side, 'h2'), http2Frames(...frames))).status, 200);
      assert.equal(await received(before, recordsBefore, 1), 1);
    });

    for (const { name, fields, body } of lyingLengths) {
      test(name, async () => {
        assert.equal((await sendHttp2(side, fields, body)) ?? 400, 400);
        const arrived = mesh.services.messaging.application.received.filter(({ url }) => url === '/x');
        for (const { headers, body } of arrived) assert.equal(String(body.length), headers['content-length'] ?? '0');
        const { status } = await overHttp2(await open(side, 'h2'), http2Frames(frame('HEADERS', 5, 1, block(...base))));
        assert.equal(status, 200, 'the connections behind are none the worse');
        assert.ok(mesh.services.messaging.application.received.every(({ url }) => url !== '/admin'));
      });
    }
  });
}
