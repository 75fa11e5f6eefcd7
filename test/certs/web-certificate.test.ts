import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, readFile, stat } from 'node:fs/promises';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const names = ['localhost', '*.cellmesh.localhost'];
const addresses = ['127.0.0.1', '::1'];
const day = 24 * 3600_000;
const open = (directory: string, clock = new FakeClock(Date.now())) =>
  openWebCertificate({ directory, names, addresses, clock, random: systemRandom });

describe('the HTTPS certificate of one machine', () => {
  test('is what OpenSSL and a client of HTTPS accept for each of its names, and for no other', async () => {
    await using directory = await temporaryDirectory();
    const { authorityFile, certificateFile, keyFile } = await open(directory.path);
    const check = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', authorityFile];
    for (const name of ['localhost', 'api.cellmesh.localhost'])
      execFileSync('openssl', [...check, '-verify_hostname', name, certificateFile], { stdio: 'pipe' });
    for (const address of addresses)
      execFileSync('openssl', [...check, '-verify_ip', address, certificateFile], { stdio: 'pipe' });
    assert.throws(() =>
      execFileSync('openssl', [...check, '-verify_hostname', 'example.com', certificateFile], { stdio: 'pipe' }),
    );

    const server = createServer(
      { cert: await readFile(certificateFile), key: await readFile(keyFile) },
      (_, response) => {
        response.end('hello');
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const ca = await readFile(authorityFile);
      const status = await new Promise((resolve, reject) => {
        get({ host: '127.0.0.1', servername: 'localhost', port, ca }, (response) => resolve(response.statusCode)).on(
          'error',
          reject,
        );
      });
      assert.equal(status, 200);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  test('stays the same at a second start, and its keys are for their owner alone', async () => {
    await using directory = await temporaryDirectory();
    const first = await open(directory.path);
    const before = await readFile(first.certificateFile, 'utf8');
    const second = await open(directory.path);
    assert.equal(await readFile(second.certificateFile, 'utf8'), before);
    assert.equal((await stat(first.keyFile)).mode & 0o777, 0o600);
    await chmod(first.keyFile, 0o644);
    await assert.rejects(open(directory.path), (error) => isCellmeshError(error, 'key_permissions'));
  });

  test('is renewed when less than thirty days are left, by the authority that clients trust already', async () => {
    await using directory = await temporaryDirectory();
    const clock = new FakeClock(Date.now());
    const files = await open(directory.path, clock);
    const read = async (file: string) => new X509Certificate(await readFile(file));
    const first = await read(files.certificateFile);
    const authority = await readFile(files.authorityFile, 'utf8');
    clock.advance(366 * day);
    await open(directory.path, clock);
    assert.equal((await read(files.certificateFile)).serialNumber, first.serialNumber);
    clock.advance(2 * day);
    await open(directory.path, clock);
    const renewed = await read(files.certificateFile);
    assert.notEqual(renewed.serialNumber, first.serialNumber);
    assert.equal(await readFile(files.authorityFile, 'utf8'), authority);
    assert.ok(renewed.verify(new X509Certificate(authority).publicKey));
  });
});
