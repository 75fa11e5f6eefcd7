import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { systemRandom } from '#runtime/random.ts';
import {
  makeTraceparent,
  parseTraceparent,
  parseTracestate,
  putHandle,
  takeHandle,
  tracestateBytesMax,
  tracestateMembersMax,
  writeTracestate,
} from '#sidecar/trace-context.ts';

const handle = '0123456789abcdef0123456789abcdef';

describe('tracestate', () => {
  test('our member is found at any position and the others keep their order', () => {
    for (const position of [0, 1, 2]) {
      const others = ['rojo=00f067aa0ba902b7', 'congo=t61rcWkgMzE'];
      const list = others.toSpliced(position, 0, `cellmesh=${handle}`).join(',');
      const taken = takeHandle(parseTracestate([list])!);
      assert.equal(taken.handle, handle);
      assert.equal(writeTracestate(taken.others), 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE');
    }
  });

  test('several fields are one list, with optional white space and empty members', () => {
    const members = parseTracestate(['a=1 , ,b=2', `\tcellmesh=${handle}`]);
    assert.deepEqual(
      members?.map(({ key }) => key),
      ['a', 'b', 'cellmesh'],
    );
  });

  test('our member goes to the front and replaces an older one', () => {
    const members = parseTracestate([`a=1,cellmesh=${'f'.repeat(32)},b=2`])!;
    assert.equal(writeTracestate(putHandle(members, handle)), `cellmesh=${handle},a=1,b=2`);
  });

  const broken: Record<string, string> = {
    'a key in upper case': 'Rojo=1',
    'no equals sign': 'rojo',
    'an empty key': '=1',
    'an empty value': 'rojo=',
    'an equals sign in a value': 'rojo=a=b',
    'a control character': 'rojo=a\u0001',
    'a byte beyond ASCII': 'rojo=é',
    'a key that comes twice': 'rojo=1,congo=2,rojo=3',
    'our key that comes twice': `cellmesh=${handle},cellmesh=${handle}`,
    'a tenant with two signs': 'a@b@c=1',
    'a key that is too long': `${'a'.repeat(257)}=1`,
    'a value that is too long': `a=${'b'.repeat(257)}`,
  };
  for (const [name, list] of Object.entries(broken)) {
    test(`a list with ${name} is dropped whole`, () => assert.equal(parseTracestate([list]), undefined));
  }

  test('32 members pass, 33 do not', () => {
    const list = (count: number) => Array.from({ length: count }, (_, index) => `k${index}=v`).join(',');
    assert.equal(parseTracestate([list(tracestateMembersMax)])?.length, tracestateMembersMax);
    assert.equal(parseTracestate([list(tracestateMembersMax + 1)]), undefined);
  });

  test('what is written has at most 512 bytes: large members go first, then the last ones', () => {
    const large = `large=${'x'.repeat(200)}`;
    const small = Array.from({ length: 24 }, (_, index) => `k${String(index).padStart(2, '0')}=${'v'.repeat(16)}`);
    const written = writeTracestate(putHandle(parseTracestate([[large, ...small].join(',')])!, handle))!;
    assert.ok(written.length <= tracestateBytesMax && written.length > tracestateBytesMax - 24);
    assert.ok(written.startsWith(`cellmesh=${handle},k00=`));
    assert.ok(!written.includes('large'));
  });

  test('a list of 512 bytes is written as it is', () => {
    const list = `a=${'x'.repeat(254)},b=${'x'.repeat(tracestateBytesMax - 259)}`;
    assert.equal(list.length, tracestateBytesMax);
    assert.equal(writeTracestate(parseTracestate([list])!), list);
  });

  test('no input makes the parser throw or write more than the limits', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 600 }), { maxLength: 4 }), (values) => {
        const members = parseTracestate(values);
        const written = members && writeTracestate(putHandle(members, handle));
        assert.ok(written === undefined || written.length <= tracestateBytesMax);
      }),
    );
  });
});

describe('traceparent', () => {
  const valid = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

  test('a valid one is taken as it is', () => {
    assert.deepEqual(parseTraceparent(valid), { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', text: valid });
  });

  const refused: Record<string, string> = {
    empty: '',
    'of version ff': `ff${valid.slice(2)}`,
    'of version 00 with more behind it': `${valid}-00`,
    'with a trace id of zeros': valid.replace('4bf92f3577b34da6a3ce929d0e0e4736', '0'.repeat(32)),
    'with a parent id of zeros': valid.replace('00f067aa0ba902b7', '0'.repeat(16)),
    'in upper case': valid.toUpperCase(),
    'cut short': valid.slice(0, -1),
  };
  for (const [name, text] of Object.entries(refused)) {
    test(`one that is ${name} is not used`, () => assert.equal(parseTraceparent(text), undefined));
  }

  test('a later version with more behind it is taken', () => {
    assert.ok(parseTraceparent(`01${valid.slice(2)}-what-the-future-brings`));
  });

  test('one that is made is valid, and the ratio decides about the sampled flag', () => {
    assert.ok(parseTraceparent(makeTraceparent(systemRandom, 0.5).text));
    assert.ok(makeTraceparent(systemRandom, 1).text.endsWith('-01'));
    assert.ok(makeTraceparent(systemRandom, 0).text.endsWith('-00'));
  });

  test('its id decides: whoever asks for a higher ratio samples it too', () => {
    const flagsAt = (lastDigits: string, ratio: number) => {
      const bytes = (count: number) => Buffer.from(lastDigits.padStart(count * 2, '1'), 'hex');
      return makeTraceparent({ bytes, fraction: () => 0.5 }, ratio).text.slice(-2);
    };
    const tenth = 'e6666666666666';
    assert.deepEqual([flagsAt(tenth, 0.09), flagsAt(tenth, 0.11), flagsAt(tenth, 0.5)], ['00', '01', '01']);
    assert.deepEqual([flagsAt('f'.repeat(14), 0), flagsAt('f'.repeat(14), 1e-9)], ['00', '01']);
    assert.deepEqual([flagsAt('0'.repeat(14), 0.999_999_999), flagsAt('0'.repeat(14), 1)], ['00', '01']);
  });

  test('of many that are made, as many are sampled as asked for', () => {
    const made = Array.from({ length: 20_000 }, () => makeTraceparent(systemRandom, 0.25).text.slice(-2));
    const share = made.filter((flags) => flags === '01').length / made.length;
    // Six standard deviations.
    assert.ok(Math.abs(share - 0.25) < 0.019, `${share}`);
  });

  test('randomness of zeros still makes a valid one', () => {
    const zeros = { bytes: (count: number) => Buffer.alloc(count), fraction: () => 0 };
    assert.ok(parseTraceparent(makeTraceparent(zeros, 0).text));
  });
});
