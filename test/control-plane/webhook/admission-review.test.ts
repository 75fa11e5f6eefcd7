import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { admissionReviewText, readAdmissionReview, reviewDepthMax } from '#control-plane/webhook/admission-review.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const review = {
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    namespace: 'messaging',
    operation: 'CREATE',
    userInfo: { username: 'admin' },
    object: { metadata: { generateName: 'api-' }, spec: { containers: [] } },
    oldObject: null,
    dryRun: false,
  },
};

function refusal(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  try {
    readAdmissionReview(text);
    return 'it is taken';
  } catch (error) {
    assert.ok(isCellmeshError(error, 'request_invalid'), String(error));
    return error.message;
  }
}

const withRequest = (change: object) => ({ ...review, request: { ...review.request, ...change } });

describe('an admission request', () => {
  test('is read as far as it is looked at', () => {
    assert.deepEqual(readAdmissionReview(JSON.stringify(review)), {
      uid: review.request.uid,
      kind: review.request.kind,
      subResource: '',
      name: '',
      namespace: 'messaging',
      operation: 'CREATE',
      object: review.request.object,
      oldObject: undefined,
    });
  });

  test('may lie as deep as it may, and no deeper', () => {
    const nested = (levels: number) =>
      withRequest({ object: { a: JSON.parse('['.repeat(levels) + ']'.repeat(levels)) } });
    // The review, its request and the object are three.
    assert.equal(refusal(nested(reviewDepthMax - 3)), 'it is taken');
    assert.match(refusal(nested(reviewDepthMax - 2)), /deeper than 128 levels/);
    assert.match(refusal('['.repeat(1_000_000)), /deeper than 128 levels/);
    // Brackets in text are text, whatever stands before them.
    assert.equal(refusal(withRequest({ name: `\\"${'[{'.repeat(500)}` })), 'it is taken');
  });

  const cases: readonly (readonly [name: string, value: unknown, said: RegExp])[] = [
    ['that is not JSON', '{', /it is not JSON/],
    ['that is nothing', 'null', /no AdmissionReview/],
    [
      'of another version',
      { ...review, apiVersion: 'admission.k8s.io/v1beta1' },
      /no AdmissionReview of admission\.k8s\.io\/v1/,
    ],
    ['without a request', { ...review, request: undefined }, /`request\.uid`/],
    ['without a uid', withRequest({ uid: '' }), /`request\.uid`/],
    ['with a uid of lines', withRequest({ uid: 'a\nb' }), /`request\.uid`/],
    ['of no operation', withRequest({ operation: 'PATCH' }), /`request\.operation` is none of/],
    ['of no kind', withRequest({ kind: {} }), /`request\.kind`/],
    ['with a namespace that is no text', withRequest({ namespace: 7 }), /`request\.namespace` is no text/],
    ['with an object that is none', withRequest({ object: [] }), /`request\.object` is no object/],
    ['to create nothing', withRequest({ object: null }), /`request\.object` is no object/],
    ['to delete nothing', withRequest({ operation: 'DELETE', object: null }), /`request\.oldObject` is no object/],
  ];
  for (const [name, value, said] of cases) test(`${name} is refused`, () => assert.match(refusal(value), said));

  test('of anything at all is read or refused, never a defect', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      '\\',
      ':',
      ',',
      'null',
      '1',
      '"uid"',
      '"request"',
      ' ',
      '\u2028',
    );
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(pieces, { maxLength: 60 }).map((all) => all.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => void refusal(text)),
      { numRuns: 2_000, seed: 1 },
    );
    const broken = fc.tuple(
      fc.constantFrom(...Object.keys(review.request), 'request', 'kind', 'version'),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(broken, ([part, other]) => {
        void refusal(JSON.stringify(review, (key, value) => (key === part ? other : value)));
      }),
      { numRuns: 2_000, seed: 2 },
    );
  });
});

describe('an answer', () => {
  const read = (...given: Parameters<typeof admissionReviewText>) => JSON.parse(admissionReviewText(...given)).response;

  test('has the uid of its request, and nothing that is not needed', () => {
    assert.deepEqual(read('u', { isAllowed: true, patch: [], warnings: [] }), { uid: 'u', allowed: true });
  });

  test('has the reason, and a patch as base64', () => {
    const patch = [{ op: 'add', path: '/a', value: 'é' }];
    const { status, patchType, patch: encoded } = read('u', { isAllowed: false, message: 'no', patch });
    assert.deepEqual(status, { code: 403, reason: 'Forbidden', message: 'no' });
    assert.equal(patchType, 'JSONPatch');
    assert.deepEqual(JSON.parse(Buffer.from(encoded, 'base64').toString()), patch);
  });

  test('has warnings that fit into header lines, and not too many of them', () => {
    const { warnings } = read('u', {
      isAllowed: true,
      warnings: ['a\r\nb', 'x'.repeat(300), ...Array.from({ length: 20 }, () => 'y')],
    });
    assert.equal(warnings[0], 'a b');
    assert.equal(warnings[1].length, 256);
    assert.deepEqual([warnings.length, warnings.at(-1)], [12, 'and 11 more']);
  });
});
