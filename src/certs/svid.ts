import { createPrivateKey, createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { mkdir, readdir, realpath, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type Certificate, parseCertificatesPem } from './certificate.ts';
import { toPem } from './pem.ts';
import { isErrno, readPrivateFile, readTextFile, syncDirectory, writePrivateFile } from './private-file.ts';
import { parseTrustDomain, type SpiffeId } from './spiffe-id.ts';
import { parseTrustBundle, serializeTrustBundle, type TrustBundle, type TrustBundles } from './trust-bundle.ts';
import { type VerifiedSvid, verifyChain } from './verify-svid.ts';

/** A workload's identity: chain (leaf first) and the key of its leaf. */
export interface Svid {
  readonly id: SpiffeId;
  readonly chain: readonly Certificate[];
  readonly privateKey: KeyObject;
}

/** What lies in a directory: an identity, and whom it trusts. */
export interface StoredSvid {
  readonly svid: Svid;
  readonly bundles: TrustBundles;
}

/** Trust domains that one workload can know: its own, the global one, and foreign ones that an operator federates with. */
const bundleFilesMax = 64;

const chainFile = 'svid.pem';
const keyFile = 'svid.key';
const currentLink = 'current';
const generationPrefix = 'generation-';
const bundleFilePattern = /^bundle-(.+)\.json$/;

/** Makes an `Svid` of what was verified. @throws CellmeshError `svid_unreadable` when the key is another's */
export function svidOf(verified: VerifiedSvid, privateKey: KeyObject): Svid {
  if (!createPublicKey(privateKey).equals(verified.leaf.publicKey)) {
    throw new CellmeshError('svid_unreadable', 'the private key is not the key of the certificate');
  }
  return Object.freeze({ id: verified.id, chain: verified.chain, privateKey });
}

/** The chain as PEM, leaf first, as TLS contexts and people read it. */
export function chainPem(chain: readonly Certificate[]): string {
  return chain.map(({ der }) => toPem('CERTIFICATE', der)).join('');
}

export function privateKeyPem(svid: Svid): string {
  return svid.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
}

/**
 * Writes a generation, a directory of its own with `svid.pem`, `svid.key` and a `bundle-<trust domain>.json` each, all 0600, and
 * then moves the link `current` to it. The link changes in one step: whenever the process dies, chain, key and bundles that are
 * found there belong together. (Renaming single files leaves moments in which the key is new and the chain old.)
 */
export async function writeSvid(directory: string, { svid, bundles }: StoredSvid): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const generation = `${generationPrefix}${svid.chain[0]!.serial.slice(0, 16)}-${randomBytes(4).toString('hex')}`;
  const path = join(directory, generation);
  await mkdir(path, { mode: 0o700 });
  await writePrivateFile(join(path, keyFile), privateKeyPem(svid));
  await writePrivateFile(join(path, chainFile), chainPem(svid.chain));
  for (const bundle of bundles.values()) await writePrivateFile(bundlePath(path, bundle), serializeTrustBundle(bundle));
  const previous = await currentGeneration(directory);
  const link = join(directory, `${currentLink}.${generation}`);
  await symlink(generation, link);
  await rename(link, join(directory, currentLink));
  await syncDirectory(directory);
  await removeOldGenerations(directory, [generation, previous]);
}

/**
 * Reads what `writeSvid` wrote and holds it against the rules that peers will hold it against.
 * @throws CellmeshError `svid_unreadable` when nothing (usable) is there, `key_permissions`; `svid_rejected` when it has expired
 * or breaks a rule
 */
export async function readSvid(directory: string, nowMs: number): Promise<StoredSvid> {
  const generation = await currentGeneration(directory);
  if (generation === undefined) throw new CellmeshError('svid_unreadable', `${directory} holds no SVID: join first`);
  const path = join(directory, generation);
  const chain = parseCertificatesPem(await readTextFile(join(path, chainFile)));
  const privateKey = parseKey(await readPrivateFile(join(path, keyFile)), join(path, keyFile));
  const bundles = await readBundles(path);
  return { svid: svidOf(verifyChain(chain, bundles, nowMs), privateKey), bundles };
}

/**
 * What lies there, whatever it is worth: for people who look why it is refused, never for trust. The key is not touched.
 * @throws CellmeshError `svid_unreadable`, `file_unreadable`, `certificate_invalid`, `trust_bundle_invalid`
 */
export async function inspectSvid(
  directory: string,
): Promise<{ readonly chain: readonly Certificate[]; readonly bundles: TrustBundles }> {
  const generation = await currentGeneration(directory);
  if (generation === undefined) throw new CellmeshError('svid_unreadable', `${directory} holds no SVID: join first`);
  const path = join(directory, generation);
  return { chain: parseCertificatesPem(await readTextFile(join(path, chainFile))), bundles: await readBundles(path) };
}

async function readBundles(path: string): Promise<TrustBundles> {
  const bundles: TrustBundle[] = [];
  const names = (await readdir(path)).filter((name) => bundleFilePattern.test(name));
  if (names.length > bundleFilesMax)
    throw new CellmeshError('svid_unreadable', `${path} has over ${bundleFilesMax} bundles`);
  for (const name of names) {
    const trustDomain = parseTrustDomain(bundleFilePattern.exec(name)![1]!);
    bundles.push(parseTrustBundle(await readTextFile(join(path, name)), trustDomain));
  }
  return new Map(bundles.map((bundle) => [bundle.trustDomain, bundle]));
}

function bundlePath(path: string, { trustDomain }: TrustBundle): string {
  return join(path, `bundle-${trustDomain}.json`);
}

async function currentGeneration(directory: string): Promise<string | undefined> {
  try {
    return basename(await realpath(join(directory, currentLink)));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw new CellmeshError('svid_unreadable', `${directory} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** The one before stays: another process (`cellmesh call --as`) may be reading it right now. */
async function removeOldGenerations(directory: string, keep: readonly (string | undefined)[]): Promise<void> {
  for (const name of await readdir(directory)) {
    const isGeneration = name.startsWith(generationPrefix) && !keep.includes(name);
    const isTornLink = name.startsWith(`${currentLink}.`);
    if (isGeneration || isTornLink) await rm(join(directory, name), { recursive: true, force: true });
  }
}

function parseKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new CellmeshError('svid_unreadable', `${path} holds no private key that can be read`);
  }
}
