import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Reason } from '#policy/reasons.ts';
import { type BypassMesh, nameOf, startBypassMesh, ways } from '../../support/bypass-mesh.ts';
import { readingsOf } from '../../support/path-readings.ts';

/*
 * PAINS.md P10: a path that policy and application read differently. Each of these reached something that it must not in some proxy; the
 * application here has `/public/**` for everybody, and `/admin` for nobody.
 */

type Outcome = Reason | { readonly path: string };

const attacks: readonly { readonly name: string; readonly paths: Readonly<Record<string, Outcome>> }[] = [
  {
    name: 'CVE-2021-31920 (Istio): several slashes, encoded slashes',
    paths: {
      '//admin': 'path_empty_segment',
      '///admin': 'path_empty_segment',
      '/public//admin': 'path_empty_segment',
      '/public/%2fadmin': 'path_encoded_separator',
      '/public%2F..%2Fadmin': 'path_encoded_separator',
      '/%2Fadmin': 'path_encoded_separator',
    },
  },
  {
    name: 'CVE-2021-39156 (Istio): a fragment in the path',
    paths: {
      '/public/#/../../admin': 'message_malformed',
      '/admin#/public/': 'message_malformed',
      '#/public/': 'message_malformed',
      '/public/%23': 'path_percent',
      '/public/x?a=b#/../admin': 'message_malformed',
    },
  },
  {
    name: 'CVE-2021-29492 (Envoy): %2F and %5C stand for separators behind the proxy',
    paths: {
      '/public/..%2fadmin': 'path_encoded_separator',
      '/public%5c..%5cadmin': 'path_encoded_separator',
      '/public/..%5Cadmin': 'path_encoded_separator',
      '/public/..\\admin': 'path_encoded_separator',
      '\\admin': 'message_malformed',
    },
  },
  {
    name: 'Dapr 1.16.14 and 1.17.5: admin%2F..%2Fpublic, a bare %, and what they cut off (# ? NUL)',
    paths: {
      '/admin%2F..%2Fpublic/': 'path_encoded_separator',
      '/public/admin%2F..%2F..%2Fadmin': 'path_encoded_separator',
      '/public/%': 'path_percent',
      '/public/%4': 'path_percent',
      '/public/%zz': 'path_percent',
      '/public/%u002e%u002e/admin': 'path_percent',
      '/public/%00': 'path_character',
      '/admin%00/public/': 'path_character',
      '/public/%3f/../admin': 'path_percent',
      '/public/x%0d%0aX-Evil:1': 'path_character',
      '/public/%7f': 'path_character',
    },
  },
  {
    name: 'CVE-2026-33494 (Oathkeeper): dot segments that only the application resolves',
    paths: {
      '/public/../admin': 'path_dot_segment',
      '/public/./x': 'path_dot_segment',
      '/public/..': 'path_dot_segment',
      '/public/%2e%2e/admin': 'path_dot_segment',
      '/public/.%2E/admin': 'path_dot_segment',
      '/../admin': 'path_dot_segment',
      '/public/%252e%252e/admin': 'path_percent',
      '/public/%25252e%25252e/admin': 'path_percent',
      '/public/...': { path: '/public/...' },
      '/public/.well-known': { path: '/public/.well-known' },
    },
  },
  {
    name: 'CVE-2026-73511, CVE-2026-73551 and CVE-2026-73553 (Envoy): ;parameters, which servlets cut off',
    paths: {
      '/admin;x=y': 'path_parameter',
      '/public/;/admin': 'path_parameter',
      '/public/..;/admin': 'path_parameter',
      '/public/..;x=y/admin': 'path_parameter',
      '/public/%3b': 'path_parameter',
      '/;/admin': 'path_parameter',
      '/public/..%3Bx=y/admin': 'path_parameter',
    },
  },
  {
    name: 'CVE-2025-46821 (Envoy): an asterisk in the path is a character, and in a pattern one segment',
    paths: {
      '/files/*': { path: '/files/*' },
      '/files/a*b': { path: '/files/a*b' },
      '/files/**': { path: '/files/**' },
      '/files/a/*': 'route_not_allowed',
      '/files/': 'route_not_allowed',
      '/*': 'route_not_allowed',
      '/**': 'route_not_allowed',
      '/*/x': 'route_not_allowed',
      '*': 'message_malformed',
    },
  },
  {
    name: 'GHSA-9g5w-hqr3-w2ph (Envoy): bytes that are not UTF-8, which a check chokes on or a decoder takes for others',
    paths: {
      '/public/%ff': 'path_percent',
      '/public/%c0%ae%c0%ae/admin': 'path_percent',
      '/public/%c0%af': 'path_percent',
      '/public/%e0%80%af': 'path_percent',
      '/public/%f0%80%80%ae': 'path_percent',
      '/public/%ed%a0%80': 'path_percent',
      '/public/%f4%90%80%80': 'path_percent',
      '/public/%c3': 'path_percent',
      '/public/%c3x': 'path_percent',
      '/public/\xe9': 'message_malformed',
      '/public/\xc0\xae\xc0\xae/admin': 'message_malformed',
      '/public/%C3%A9%e2%82%ac': { path: '/public/%C3%A9%E2%82%AC' },
    },
  },
  {
    name: 'needless encoding and case: one spelling is decided on, and it is the one that arrives',
    paths: {
      '/%70ublic/%41%2d%7e': { path: '/public/A-~' },
      '/%61dmin': 'scope_missing',
      '/adm%69n/x': 'scope_missing',
      '/Public/x': 'route_not_allowed',
      '/public/%c3%a9': { path: '/public/%C3%A9' },
      '/public/a?x=/../admin&%2e%2e': { path: '/public/a' },
      '/public/': { path: '/public/' },
      '/public': 'route_not_allowed',
      '/files/x/': 'route_not_allowed',
    },
  },
];

let bypass: BypassMesh;
before(async () => {
  bypass = await startBypassMesh();
});
after(() => bypass[Symbol.asyncDispose]());

for (const way of ways) {
  describe(nameOf(way), () => {
    for (const { name, paths } of attacks) {
      test(name, async () => {
        for (const [path, outcome] of Object.entries(paths)) {
          const { record, received } = await bypass.judge(way, { path, authority: bypass.publicAuthority });
          const found = received === undefined ? record?.reason : { path: received.url.split('?', 1)[0] };
          assert.deepEqual(found, outcome, path);
        }
      });
    }

    test('whatever the path: the one that was decided on is the one that arrives, and no reading of it leaves what was allowed', async () => {
      await fc.assert(
        fc.asyncProperty(hostilePath, async (path) => {
          const { record, received } = await bypass.judge(way, { path, authority: bypass.publicAuthority });
          if (received === undefined) return;
          const prefix = record?.rule === 'public' ? '/public/' : '/files/';
          for (const reading of readingsOf(received.url))
            assert.ok(
              reading.startsWith(prefix),
              `${path} arrives as ${received.url}, which may be read as ${reading}`,
            );
        }),
        { numRuns: 150, examples: [['/public/..;/admin'], ['/public/%c0%ae%c0%ae/admin'], ['/files/*']] },
      );
    });
  });
}

/** Pieces that mean something to one parser or another, and now and then anything. */
const hostilePath = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom('/', 'admin', 'public', 'a', '.', '..', '%2e', '%2F', '%5c', '\\', ';', ';x=y'),
      },
      {
        weight: 3,
        arbitrary: fc.constantFrom(
          '%',
          '%25',
          '%252e',
          '%00',
          '%c0%ae',
          '%ef%bc%8f',
          '#',
          '?',
          '*',
          '**',
          '~',
          '%41',
          ':',
          '@',
        ),
      },
      { weight: 1, arbitrary: fc.integer({ min: 0x01, max: 0xff }).map((byte) => String.fromCharCode(byte)) },
    ),
    { maxLength: 8 },
  )
  .map((pieces) => pieces.join(''))
  // These would end the line, and with it the message; smuggling.test.ts is about them.
  .filter((rest) => !/[\r\n]/.test(rest))
  .chain((rest) => fc.constantFrom(`/public/${rest}`, `/files/${rest}`, `/${rest}`));
