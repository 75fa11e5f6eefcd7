import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import { type Certificate, parseCertificatesPem } from './certificate.ts';
import {
  type CertificateProfile,
  extension,
  keyIdOf,
  keyUsage,
  randomSerial,
  subjectKeyIdentifier,
} from './certificate-profile.ts';
import { boolean, decodeDer, oid, sequence, set, smallInteger, utf8String } from './der.ts';
import { oids } from './object-identifiers.ts';
import { toPem } from './pem.ts';
import { exists, readPrivateFile, readTextFile, writePrivateFile } from './private-file.ts';
import { signCertificate } from './root-signer.ts';
import { serverProfile } from './server-profile.ts';

interface WebCertificateOptions {
  readonly directory: string;
  /** Exact DNS names, or `*.` in front of one. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
}

/** Files in PEM. Customers' clients trust `authorityFile`; the server shows `certificateFile` and holds `keyFile`. */
interface WebCertificateFiles {
  readonly authorityFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

const authorityLifetimeMs = 10 * 365 * 24 * 3600_000;
/** Browsers take no longer one (CA/Browser Forum, Baseline Requirements 6.3.2: 398 days). */
const lifetimeMs = 397 * 24 * 3600_000;
const renewBeforeMs = 30 * 24 * 3600_000;
const backdateMs = 2 * 60_000;

/**
 * An HTTPS certificate for one machine, by an authority of its own, so that a cell can be tried without a public name: made at the first start,
 * renewed at a later one when less than 30 days are left. It is no part of any trust domain.
 * @throws CellmeshError `file_unreadable`, `key_permissions`
 */
export async function openWebCertificate(options: WebCertificateOptions): Promise<WebCertificateFiles> {
  const { directory, clock } = options;
  const files = {
    authorityFile: join(directory, 'authority.pem'),
    certificateFile: join(directory, 'web.pem'),
    keyFile: join(directory, 'web.key'),
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (await isGood(files, clock.now())) return files;
  const authority = await openAuthority(join(directory, 'authority.key'), files.authorityFile, options);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const profile = serverProfile({
    names: options.names,
    addresses: options.addresses,
    publicKey,
    serial: randomSerial(options.random),
    issuer: decodeDer(authority.certificate.subject),
    issuerKeyId: keyIdOf(authority.certificate.publicKey),
    notBefore: clock.now() - backdateMs,
    notAfter: clock.now() + lifetimeMs,
  });
  const certificate = await signCertificate(profile, issuerOf(authority.privateKey));
  // The key first: a process that is killed between the two finds a certificate that does not fit, and makes both anew.
  await writePrivateFile(files.keyFile, pemOf(privateKey));
  await writePrivateFile(files.certificateFile, toPem('CERTIFICATE', certificate.der));
  return files;
}

async function isGood(
  { authorityFile, certificateFile, keyFile }: WebCertificateFiles,
  nowMs: number,
): Promise<boolean> {
  for (const file of [authorityFile, certificateFile, keyFile]) if (!(await exists(file))) return false;
  const [certificate] = parseCertificatesPem(await readTextFile(certificateFile));
  const [authority] = parseCertificatesPem(await readTextFile(authorityFile));
  const key = createPrivateKey(await readPrivateFile(keyFile));
  const hasKey = certificate!.publicKey.equals(createPublicKey(key));
  return hasKey && certificate!.isSignedBy(authority!.publicKey) && certificate!.notAfter - nowMs > renewBeforeMs;
}

interface WebAuthority {
  readonly certificate: Certificate;
  readonly privateKey: KeyObject;
}

/** Made once: clients that were told to trust it go on trusting it. */
async function openAuthority(
  keyFile: string,
  certificateFile: string,
  options: WebCertificateOptions,
): Promise<WebAuthority> {
  if ((await exists(keyFile)) && (await exists(certificateFile))) {
    const [certificate] = parseCertificatesPem(await readTextFile(certificateFile));
    return { certificate: certificate!, privateKey: createPrivateKey(await readPrivateFile(keyFile)) };
  }
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await signCertificate(webAuthorityProfile(publicKey, options), issuerOf(privateKey));
  await writePrivateFile(keyFile, pemOf(privateKey));
  await writePrivateFile(certificateFile, toPem('CERTIFICATE', certificate.der));
  return { certificate, privateKey };
}

function webAuthorityProfile(publicKey: KeyObject, { clock, random }: WebCertificateOptions): CertificateProfile {
  const keyId = keyIdOf(publicKey);
  const subject = sequence(
    set(sequence(oid(oids.commonName), utf8String(`cellmesh edge ${keyId.toString('hex').slice(0, 16)}`))),
  );
  return {
    serial: randomSerial(random),
    issuer: subject,
    subject,
    notBefore: clock.now() - backdateMs,
    notAfter: clock.now() + authorityLifetimeMs,
    publicKey,
    extensions: [
      keyUsage('keyCertSign'),
      extension(oids.basicConstraints, true, sequence(boolean(true), smallInteger(0))),
      subjectKeyIdentifier(publicKey),
    ],
  };
}

function issuerOf(privateKey: KeyObject) {
  return {
    algorithm: 'ecdsa-sha256' as const,
    sign: (toBeSigned: Buffer) => sign('sha256', toBeSigned, privateKey),
  };
}

function pemOf(privateKey: KeyObject): string {
  return privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
}
