import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Ajv } from 'ajv';
import { root, writeBundle } from '../../build/bundle.ts';
import { buildImages, type NamedImage } from '../../build/image/build-images.ts';
import { file, sha256 } from '../../build/image/file-tree.ts';
import { imageOf, layerOf } from '../../build/image/oci-layout.ts';
import { nft } from '../../build/image/system-files.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { type UnpackedImage, unpackImage } from '../support/unpacked-image.ts';

const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const packages = join(root, 'node_modules');
const repository = 'registry.example/mesh/cellmesh';

/** Why none can be made of this machine's files; undefined when one can. */
function missingParts(): string | undefined {
  const missing = ['/usr/bin/dpkg-query', '/usr/bin/strip', nft].filter((path) => !existsSync(path));
  if (missing.length === 0) return undefined;
  const said = `the system files of the image come from a Debian with nftables and binutils: no ${missing.join(', ')}`;
  if (process.env['REQUIRE_PARTS'] === '1') throw new Error(said);
  return said;
}

const skip = missingParts() ?? false;

describe('the image, of the files of this machine', { skip }, async () => {
  await using directory = await temporaryDirectory();
  const dist = join(directory.path, 'dist');
  let images: Record<'cellmesh' | 'example', NamedImage>;
  let unpacked: UnpackedImage;

  before(async () => {
    await writeBundle(dist);
    images = await buildImages({ dist, packages, architecture, repository });
    unpacked = await unpackImage(images.cellmesh.archive);
  });

  test('is an image layout with blobs that are what their names say', () => {
    assert.deepEqual(unpacked.problems, []);
    assert.equal(unpacked.manifestDigest, images.cellmesh.digest);
    assert.equal(images.cellmesh.name, 'registry.example/mesh/cellmesh:0.1.0');
    assert.equal(images.example.name, 'registry.example/mesh/cellmesh-example:0.1.0');
    assert.deepEqual(unpacked.config.config.Entrypoint, ['cellmesh']);
    assert.equal(unpacked.config.config.User, '14000:14000');
  });

  test('is the same of the same files', async () => {
    const again = await buildImages({ dist, packages, architecture, repository });
    assert.equal(again.cellmesh.digest, images.cellmesh.digest);
    assert.equal(sha256(again.example.archive), sha256(images.example.archive));
    assert.deepEqual(again.cellmesh.bill, images.cellmesh.bill);
  });

  test('holds neither source nor tests nor keys, and nothing that anybody but root may write', () => {
    const ours = [...unpacked.files].filter(([path]) => path.startsWith('opt/'));
    assert.deepEqual(
      ours
        .map(([path]) => path)
        .filter((path) => /\.(ts|pem|key|crt)$|(^|\/)(tests?|\.git)(\/|$)|^opt\/cellmesh\/src\//.test(path)),
      [],
    );
    assert.deepEqual(
      ours.filter(([, { text }]) => /-----BEGIN [A-Z ]*PRIVATE KEY-----\n/.test(text)).map(([path]) => path),
      [],
    );
    assert.deepEqual(
      [...unpacked.files].filter(
        ([path, { mode, type }]) => path !== 'tmp' && type !== 'symlink' && (mode & 0o6022) !== 0,
      ),
      [],
    );
  });

  test('runs without a shell, as anybody, with a file system that cannot be written', {
    skip: rootMissing(),
  }, async () => {
    await using place = await temporaryDirectory();
    await unpacked.writeTo(place.path);
    await chmod(place.path, 0o755);
    const version = (user: string) =>
      execFileSync('chroot', [`--userspec=${user}`, place.path, '/usr/bin/cellmesh', '--version'], {
        encoding: 'utf8',
        env: { PATH: '/usr/sbin:/usr/bin:/bin' },
      });
    assert.equal(version('14000:14000'), '0.1.0\n');
    assert.equal(version('4242:0'), '0.1.0\n');
  });

  test('has a bill of materials that is CycloneDX, and names what is in it', async () => {
    for (const { bill } of Object.values(images)) assert.equal(await problemsOfBill(bill), '');
    const { components } = images.cellmesh.bill as { components: { purl: string }[] };
    const urls = components.map(({ purl }) => purl);
    for (const name of ['pkg:generic/node@26', 'pkg:npm/undici@', 'pkg:npm/koffi@', 'pkg:deb/debian/libc6@']) {
      assert.ok(
        urls.some((url) => url.startsWith(name)),
        `${name} is not among ${urls.join(' ')}`,
      );
    }
  });
});

describe('an image on another’s', () => {
  const library = (name: string) => [`usr/lib/${name}`, file(name)] as const;
  const whole = ['libc.so.6', 'libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1', 'nft'];

  async function build(names: readonly string[], of: 'amd64' | 'arm64' = architecture) {
    await using directory = await temporaryDirectory();
    const [dist, base] = [join(directory.path, 'dist'), join(directory.path, 'base.tar')];
    await writeBundle(dist);
    const layers = [await layerOf(new Map(names.map(library)), 'test')];
    const image = await imageOf({ name: 'base:1', version: '1', architecture: of, layers, config: {}, labels: {} });
    await writeFile(base, image.archive);
    const images = await buildImages({ dist, packages, base, architecture, repository, keepsSymbols: true });
    return { ...images.cellmesh, below: layers };
  }

  test('has its layers first, and says so', async () => {
    const image = await build(whole);
    const { config, files, problems } = await unpackImage(image.archive);
    assert.deepEqual(problems, []);
    assert.equal(config.rootfs.diff_ids[0], `sha256:${image.below[0]!.diffId}`);
    assert.ok(files.has('usr/lib/libatomic.so.1') && files.has('usr/bin/node') && files.has('usr/bin/cellmesh'));
    assert.equal(await problemsOfBill(image.bill), '');
    assert.match(JSON.stringify(image.bill), /"base image"/);
  });

  test('is refused when it lacks a library, or is for another platform', async () => {
    await assert.rejects(build(whole.slice(0, 3)), /the base image has no nft, libatomic\.so\.1/);
    const other = architecture === 'amd64' ? 'arm64' : 'amd64';
    await assert.rejects(build(whole, other), new RegExp(`is an image for ${other}, not ${architecture}`));
  });
});

function rootMissing(): string | false {
  return process.getuid?.() === 0 ? false : 'chroot needs root';
}

/** By the schema of the standard's own library. */
async function problemsOfBill(bill: object): Promise<string> {
  const library = new URL('../', import.meta.resolve('@cyclonedx/cyclonedx-library'));
  const schema = async (name: string) =>
    JSON.parse(await readFile(new URL(`res/schema/${name}.SNAPSHOT.schema.json`, library), 'utf8'));
  const ajv = new Ajv({ strict: false, validateFormats: false });
  for (const name of ['spdx', 'jsf-0.82'])
    ajv.addSchema(await schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  ajv.validate(await schema('bom-1.6'), bill);
  return ajv.errors ? ajv.errorsText(ajv.errors) : '';
}
