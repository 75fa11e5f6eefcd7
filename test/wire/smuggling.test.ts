import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everyByte, splitAt, throughProxy, whole } from './support/memory-proxy.ts';

interface Case {
  readonly name: string;
  readonly bytes: string;
  /** Of each response, in order. */
  readonly statuses: readonly number[];
}

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (fields: string, body = '') => `POST /p HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);
const withField = (line: string) => `GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`;
const refused = (name: string, bytes: string, status = 400): Case => ({ name, bytes: bytes + get, statuses: [status] });
const passed = (name: string, bytes: string, count = 1): Case => ({
  name,
  bytes,
  statuses: new Array<number>(count).fill(200),
});

/** RFC 9112 6, RFC 9110 5.5 and 8.6, and the llhttp advisories of 2019 to 2023. A refused message is followed by a clean one, never served. */
const cases: readonly Case[] = [
  passed('a plain request', get),
  passed('two pipelined requests', get + get, 2),
  passed('a length', post('Content-Length: 5\r\n', 'hello')),
  passed('a length with white space around it', post('Content-Length: \t 5 \r\n', 'hello') + get, 2),
  passed('a length of zero', post('Content-Length: 0\r\n') + get, 2),
  passed('a length with leading zeros', post('Content-Length: 0005\r\n', 'hello') + get, 2),
  passed('a body that looks like a request', post(`Content-Length: ${get.length}\r\n`, get) + get, 2),
  passed('chunks', `${chunked('5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n')}${get}`, 2),
  passed('chunked in capitals', post('Transfer-Encoding: CHUNKED\r\n', '1\r\na\r\n0\r\n\r\n') + get, 2),
  passed('a chunk extension', `${chunked('5;a=b\r\nhello\r\n0;last\r\n\r\n')}${get}`, 2),
  passed(
    'chunk sizes in both cases, with leading zeros',
    `${chunked(`00A\r\n${'x'.repeat(10)}\r\n0a\r\n${'y'.repeat(10)}\r\n000\r\n\r\n`)}${get}`,
    2,
  ),
  passed(
    'trailers',
    `${chunked('1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\ncellmesh-left: v1\r\n\r\n')}${get}`,
    2,
  ),
  passed('one empty line before a request', `\r\n${get}`),
  passed('an empty value', withField('X-Empty:')),
  passed('a tab in a value', withField('X-Tab: a\tb')),
  passed('the absolute form', 'GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n'),
  passed('the asterisk form', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'),
  passed('a nominated field', withField('X-Hop: 1\r\nConnection: x-hop, keep-alive')),

  refused('length and coding together', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\nG')),
  refused('coding and length together', post('Transfer-Encoding: chunked\r\nContent-Length: 6\r\n', '0\r\n\r\nG')),
  refused('two different lengths', post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello')),
  refused('two equal lengths', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')),
  refused('a list of equal lengths', post('Content-Length: 5, 5\r\n', 'hello')),
  refused('an empty length', post('Content-Length:\r\n')),
  refused('a negative length', post('Content-Length: -1\r\n')),
  refused('a length with a plus', post('Content-Length: +5\r\n', 'hello')),
  refused('a hexadecimal length', post('Content-Length: 0x5\r\n', 'hello')),
  refused('a length with a space inside', post('Content-Length: 1 0\r\n')),
  refused('a length with an underscore', post('Content-Length: 1_0\r\n')),
  refused('a length above 2^53', post('Content-Length: 9007199254740993\r\n')),
  refused('a length above 2^64', post('Content-Length: 18446744073709551617\r\n', 'h')),
  refused('identity', post('Transfer-Encoding: identity\r\n')),
  refused('an unknown coding', post('Transfer-Encoding: gzip\r\n')),
  refused('chunked after another coding', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')),
  refused('chunked before identity (CVE-2022-32213)', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')),
  refused('chunked twice in a list', post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n')),
  refused('chunked in two fields', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')),
  refused('chunked with a second field', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', '0\r\n\r\n')),
  refused('an empty coding', post('Transfer-Encoding:\r\n')),
  refused('chunked with a parameter', post('Transfer-Encoding: chunked;q=1\r\n', '0\r\n\r\n')),
  refused('chunked in quotes', post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n')),
  refused('a vertical tab before chunked (CVE-2019-15605)', post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n')),
  refused(
    'a coding over two lines (CVE-2022-32215)',
    post('Transfer-Encoding: chunked\r\n , identity\r\n', '0\r\n\r\n'),
  ),
  refused('a folded line', withField('X-A: b\r\n c')),
  refused('a folded first line', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n'),
  refused('a space before the colon (CVE-2021-22959)', post('Content-Length : 5\r\n', 'hello')),
  refused('a tab before the colon', post('Transfer-Encoding\t: chunked\r\n', '0\r\n\r\n')),
  refused('a line feed alone between fields (CVE-2022-32214)', 'GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n'),
  refused('a line feed alone at the end of the head', 'GET / HTTP/1.1\r\nHost: a\r\n\n'),
  refused('a line feed alone after the request line', 'GET / HTTP/1.1\nHost: a\r\n\r\n'),
  refused('a carriage return alone in a value (CVE-2023-30589)', post('X: y\rTransfer-Encoding: chunked\r\n')),
  refused(
    'a carriage return alone at the end of a line (CVE-2022-35256)',
    'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n',
  ),
  refused('NUL in a value', withField('X: a\0b')),
  refused('a control character in a value', withField('X: a\x01b')),
  refused('DEL in a value', withField('X: a\x7fb')),
  refused('a byte above ASCII in a value', withField('X: caf\xe9')),
  refused('a byte above ASCII in a name', withField('X-\xe9: 1')),
  refused('a line without a colon', withField('X-Nothing')),
  refused('an empty name', withField(': x')),
  refused('a name with parentheses', withField('X(a): x')),
  refused('no Host', 'GET / HTTP/1.1\r\n\r\n'),
  refused('an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'),
  refused('two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n'),
  refused('a list of hosts', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n'),
  refused('a host with user information', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n'),
  refused('a host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'),
  refused('a port above 65535', 'GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n'),
  refused('an absolute form for another host', 'GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('an absolute form with user information', 'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('another scheme', 'GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('the asterisk for GET', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a relative path', 'GET a/b HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a fragment (CVE-2021-39156)', 'GET /a#/b HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a byte above ASCII in the target', 'GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('two spaces before the target', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a tab after the method', 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('a space after the version', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n'),
  refused('a version in small letters', 'GET / http/1.1\r\nHost: a\r\n\r\n'),
  refused('HTTP/0.9', 'GET /\r\n'),
  refused('HTTP/1.0', 'GET / HTTP/1.0\r\nHost: a\r\n\r\n', 505),
  refused('HTTP/1.0 with a coding', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 505),
  refused('HTTP/1.2', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 505),
  refused('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
  refused('a method with a bracket', 'GE{T / HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('two empty lines before a request', `\r\n\r\n${get}`),
  refused('an expectation that is unknown', post('Expect: 200-ok\r\nContent-Length: 1\r\n', 'a'), 417),
  refused('Connection that names the length', post('Connection: content-length\r\nContent-Length: 5\r\n', 'hello')),
  refused('Connection that names Host', withField('Connection: close, Host')),
  refused('Connection that names authorization', withField('Connection: authorization')),
  refused('Connection that names a mesh field', withField('Connection: cellmesh-anything')),
  refused('CONNECT without a port', 'CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n'),
  refused('CONNECT with a body', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\n\r\na'),
  refused('CONNECT to a path', 'CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n'),

  refused('a chunk size with a plus', chunked('+5\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size with a minus', chunked('-5\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size with 0x', chunked('0x5\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size with a space before', chunked(' 5\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size with a space after', chunked('5 \r\nhello\r\n0\r\n\r\n')),
  refused('an empty chunk size', chunked('\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size with 14 digits', chunked('00000000000005\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size above 2^64', chunked('10000000000000005\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk longer than its size', chunked('4\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk shorter than its size', chunked('6\r\nhello\r\n0\r\n\r\n')),
  refused('a chunk size line that ends with a line feed alone', chunked('5\nhello\r\n0\r\n\r\n')),
  refused('a chunk extension that ends with a line feed alone (CVE-2021-22960)', chunked('5;a\nhello\r\n0\r\n\r\n')),
  refused('a chunk that ends with a line feed alone', chunked('5\r\nhello\n0\r\n\r\n')),
  refused('NUL in a chunk extension', chunked('5;\0\r\nhello\r\n0\r\n\r\n')),
  refused('a folded trailer', chunked('0\r\nX: a\r\n b\r\n\r\n')),
  refused('a trailer that ends with a line feed alone', chunked('0\r\nX: a\n\r\n')),
  refused('a trailer with a space before its colon', chunked('0\r\nX : a\r\n\r\n')),
  refused('NUL in a trailer', chunked('0\r\nX: \0\r\n\r\n')),
];

for (const { name, bytes, statuses } of cases) {
  test(`${statuses[0] === 200 ? 'passes' : `${statuses[0]}:`} ${name}`, async () => {
    const expected = await run(whole(bytes), statuses);
    assert.deepEqual(await run(everyByte(bytes), statuses), expected);
    for (let at = 1; at < bytes.length; at++)
      assert.deepEqual(await run(splitAt(bytes, at), statuses), expected, `split at ${at}`);
  });
}

/** Runs one feeding and returns what must not depend on how the bytes were cut. */
async function run(pieces: readonly Buffer[], statuses: readonly number[]) {
  const { decided, received, sent, answered, statuses: answeredStatuses } = await throughProxy(pieces);
  assert.deepEqual(answeredStatuses, statuses, answered);
  const passedCount = statuses.filter((status) => status === 200).length;
  assert.equal(received.length, passedCount, sent);
  received.forEach((request, index) => {
    const head = decided[index]!;
    assert.equal(request.method, head.method);
    assert.equal(request.target, head.path);
    assert.equal(request.host.toLowerCase(), head.authority);
    if (head.framing === 'length') assert.equal(request.body.length, head.contentLength);
  });
  assert.doesNotMatch(sent, /cellmesh-|x-hop/i);
  return { received, answered: answered.replaceAll(/date: [^\r]*/gi, 'date') };
}
