import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { listenAddress } from '#net/listen-address.ts';

const run = promisify(execFile);
const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'));
const skip = !hasIpv6 && 'this machine has no IPv6 address';

describe('where to listen', () => {
  test('is what is said, for one address and for all of IPv4', async () => {
    for (const host of ['127.0.0.1', '0.0.0.0', '10.1.2.3', 'localhost'])
      assert.deepEqual(await listenAddress({ host, port: 1 }), { host, port: 1 });
  });

  test('is both families for `::`, where the kernel has them', { skip }, async () => {
    const { host } = await listenAddress({ host: '::', port: 0 });
    assert.equal(host, '::');
    const server = createServer((socket) => socket.end('here'));
    await new Promise<void>((resolve) => server.listen({ host, port: 0 }, resolve));
    const { port } = server.address() as { port: number };
    for (const address of ['127.0.0.1', '::1']) assert.equal(await said(address, port), 'here');
    await new Promise((resolve) => server.close(resolve));
  });

  test('is all of IPv4 for `::`, where the kernel has no IPv6', {
    skip: process.platform !== 'linux' && 'Linux only',
  }, async () => {
    const root = join(import.meta.dirname, '../..');
    const code = `
      import { createServer } from 'node:net';
      const { listenAddress } = await import('#net/listen-address.ts');
      const listen = (host) => new Promise((resolve) => {
        const server = createServer();
        server.once('error', ({ code }) => resolve(code));
        server.listen({ host, port: 0 }, () => server.close(() => resolve('listens')));
      });
      const { host } = await listenAddress({ host: '::', port: 0 });
      console.log(JSON.stringify([await listen('::'), host, await listen(host)]));`;
    const args = ['--import', join(root, 'test/support/without-ipv6.ts'), '--input-type=module', '--eval', code];
    const { stdout } = await run(process.execPath, args, { cwd: root });
    assert.deepEqual(JSON.parse(stdout), ['EAFNOSUPPORT', '0.0.0.0', 'listens']);
  });
});

function said(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.once('data', (data) => resolve(data.toString()));
    socket.once('error', reject);
  });
}
