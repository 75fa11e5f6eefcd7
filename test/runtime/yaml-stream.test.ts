import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isCellmeshError } from '#runtime/errors.ts';
import { readYamlStream } from '#runtime/yaml-stream.ts';

function only(text: string) {
  const documents = readYamlStream(text, 'x.yaml');
  assert.equal(documents.length, 1);
  return documents[0]!;
}

/** The document with one more key at its end. */
function withMore(text: string, more: object = { more: 1 }): string {
  const document = only(text);
  return document.withValue({ ...(document.value as object), ...more });
}

describe('a stream of documents', () => {
  test('is the same as the texts of its documents, whatever stands between them', () => {
    const stream = '# head\n---\na: 1\n--- # second\nb: |\n  ---\n  not a start\n...\n---\n\n---\r\nc: 3\r\n---x: 4\n';
    const documents = readYamlStream(stream, 'x.yaml');
    assert.equal(documents.map(({ text }) => text).join(''), stream);
    assert.deepEqual(
      documents.map(({ line, value }) => [line, value]),
      [
        [1, undefined],
        [2, { a: 1 }],
        [4, { b: '---\nnot a start\n' }],
        [9, undefined],
        [11, { c: 3, '---x': 4 }],
      ],
    );
  });

  test('is told where it cannot be read', () => {
    const read = () => readYamlStream('a: 1\n---\nb:\n  - c\n d: [\n', 'x.yaml');
    assert.throws(read, { code: 'document_invalid', message: /^x\.yaml:5:\d+: / });
  });

  test('may be nothing', () => {
    assert.deepEqual(
      readYamlStream('', 'x.yaml').map(({ value }) => value),
      [undefined],
    );
  });

  test('of brackets or of aliases on aliases is refused, not followed', () => {
    const nested = '['.repeat(200_000);
    const levels = Array.from({ length: 20 }, (_, at) => `a${at + 1}: &a${at + 1} [*a${at}, *a${at}, *a${at}]\n`);
    for (const text of [nested, `a0: &a0 x\n${levels.join('')}`]) {
      assert.throws(() => readYamlStream(text, 'x.yaml'), { code: 'document_invalid' });
    }
  });
});

test('any text is read, to the byte, or refused, never a defect', () => {
  const line = fc.constantFrom(
    '---',
    '--- a',
    '...',
    'a:',
    '  - b',
    '- c: &x 1',
    'd: *x',
    '<<: *x',
    '? e',
    '{',
    ']',
    '"',
    '|',
    '%YAML 1.1',
    '!!t',
    '# f',
    '\t',
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(line, { maxLength: 12 }).map((lines) => lines.join('\n')),
  );
  fc.assert(
    fc.property(text, (text) => {
      try {
        assert.equal(
          readYamlStream(text, 'x.yaml')
            .map((one) => one.text)
            .join(''),
          text,
        );
      } catch (error) {
        assert.ok(isCellmeshError(error, 'document_invalid'), String(error));
      }
    }),
    { numRuns: 1_000, seed: 1 },
  );
});

describe('a document with another value', () => {
  test('keeps comments, order, quotes and the style of what did not change', () => {
    const text = '---\n# why\nb: \'one\' # first\na: { x: "2" }\nlist:\n  # of names\n  - name: n # inner\n    v: 1\n';
    assert.equal(withMore(text), `${text}more: 1\n`);
  });

  test('keeps lists that are not indented', () => {
    const text = 'list:\n- name: n\n- name: m\n';
    assert.equal(withMore(text), `${text}more: 1\n`);
  });

  test('means the same to Kubernetes, which reads YAML 1.1', () => {
    const text = 'mode: 0644\nenabled: on\ntext: "on"\nversion: 1.10\nempty:\ntime: 12:30:00\n';
    assert.equal(withMore(text), `${text}more: 1\n`);
    assert.deepEqual(only(text).value, {
      mode: 0o644,
      enabled: true,
      text: 'on',
      version: 1.1,
      empty: null,
      time: 45_000,
    });
    assert.match(withMore('a: 1\n', { b: 'yes', c: '0644', d: '1e3' }), /b: "yes"\nc: "0644"\nd: "1e3"\n/);
  });

  test('finds items of a list by their names, and keeps those that stay', () => {
    const document = only('list:\n  - name: a # first\n  - name: b # second\n');
    const changed = document.withValue({ list: [{ name: 'new' }, { name: 'b' }, { name: 'a', v: 1 }] });
    assert.equal(changed, 'list:\n  - name: new\n  - name: b # second\n  - name: a # first\n    v: 1\n');
  });

  test('gives a list in one line a line for each item when there are more', () => {
    const document = only('list: [{ name: a, v: [1, 2] }]\nother: [1]\n');
    const changed = document.withValue({ list: [{ name: 'a', v: [1, 2] }, { name: 'b' }], other: [1] });
    assert.equal(changed, 'list:\n  - { name: a, v: [ 1, 2 ] }\n  - name: b\nother: [ 1 ]\n');
  });

  test('loses what is no longer there', () => {
    assert.equal(only('a: 1\nb: 2\n').withValue({ b: 2 }), 'b: 2\n');
  });

  test('is written out where one text stood for two places', () => {
    const document = only('a: &x { v: 1 }\nb: *x\nc:\n  <<: *x\n');
    assert.equal(document.withValue({ a: { v: 1 }, b: { v: 2 }, c: { v: 1 } }), 'a:\n  v: 1\nb:\n  v: 2\nc:\n  v: 1\n');
  });

  test('is YAML where it was JSON', () => {
    assert.equal(withMore('{"a": {"b": [1, "2"]}}\n'), 'a:\n  b:\n    - 1\n    - "2"\nmore: 1\n');
  });
});
