import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { type Certificate, parseCertificatesPem } from './certificate.ts';
import { authorityProfile, randomSerial } from './certificate-profile.ts';
import { toPem } from './pem.ts';
import { createPrivateFile, exists, readPrivateFile, readTextFile } from './private-file.ts';
import { type RootSigner, signCertificate } from './root-signer.ts';
import { digestOf, signatureAlgorithmOf } from './signature-algorithm.ts';
import type { TrustDomain } from './spiffe-id.ts';
import { brokenRootRule } from './svid-rules.ts';

interface CreateRootOptions {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  /** Default 10 years: until roots rotate by themselves, replacing one is an operator's work. */
  readonly lifetimeMs?: number;
  /** Default 2 minutes: other machines' clocks may be behind. */
  readonly backdateMs?: number;
}

export const rootLifetimeMs = 10 * 365 * 24 * 3600_000;
export const backdateMs = 2 * 60_000;

/** Key and certificate in one file, so that no crash can leave one without the other. */
export const rootFileName = 'root.pem';

/**
 * The root in `directory`, made there on the first start: `root.pem` holds the P-256 key and its certificate, mode 0600. Two
 * processes that start at once end up with the same root.
 * @throws CellmeshError `key_permissions`, `file_unreadable`, `certificate_invalid`, `svid_not_issued`
 */
export async function openRootSigner(directory: string, options: CreateRootOptions): Promise<RootSigner> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, rootFileName);
  if (!(await exists(path))) await createPrivateFile(path, await createRoot(options));
  return rootSignerFromFiles({ keyFile: path, certificateFile: path, trustDomain: options.trustDomain });
}

/**
 * A root that is there already: ours, or an operator's own CA as two PEM files. Of several certificates in the file the first
 * counts.
 * @throws CellmeshError `key_permissions`, `file_unreadable`, `certificate_invalid`, `svid_not_issued` when the two do not belong
 * together or the certificate cannot be the root of the trust domain
 */
export async function rootSignerFromFiles(options: {
  readonly keyFile: string;
  readonly certificateFile: string;
  readonly trustDomain: TrustDomain;
}): Promise<RootSigner> {
  const { keyFile, certificateFile, trustDomain } = options;
  const privateKey = readKey(await readPrivateFile(keyFile), keyFile);
  // The certificate is public, but in our own layout it lies in the key's file.
  const pem = await readCertificateFile(certificateFile, keyFile);
  const certificate = parseCertificatesPem(pem)[0]!;
  if (!createPublicKey(privateKey).equals(certificate.publicKey)) {
    throw new CellmeshError('svid_not_issued', `${keyFile} is not the key of the certificate in ${certificateFile}`);
  }
  const broken = brokenRootRule(certificate, trustDomain);
  if (broken !== undefined) {
    throw new CellmeshError('svid_not_issued', `${certificateFile} cannot be a root: ${broken.rule}: ${broken.reason}`);
  }
  return localSigner(privateKey, certificate);
}

/** A signer whose key lies in this process. */
export function localSigner(privateKey: KeyObject, certificate: Certificate): RootSigner {
  const digest = digestOf[signatureAlgorithmOf(certificate.keyAlgorithm ?? 'p256')];
  return { certificate, sign: async (toBeSigned) => sign(digest, toBeSigned, privateKey) };
}

async function createRoot(options: CreateRootOptions): Promise<string> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const now = options.clock.now();
  const profile = authorityProfile({
    trustDomain: options.trustDomain,
    kind: 'root',
    publicKey,
    serial: randomSerial(options.random),
    notBefore: now - (options.backdateMs ?? backdateMs),
    notAfter: now + (options.lifetimeMs ?? rootLifetimeMs),
  });
  const certificate = await signCertificate(profile, {
    algorithm: 'ecdsa-sha256',
    sign: (toBeSigned) => sign('sha256', toBeSigned, privateKey),
  });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }) + toPem('CERTIFICATE', certificate.der);
}

function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // Without the cause: OpenSSL's errors may quote what they read.
    throw new CellmeshError(
      'file_unreadable',
      `${path} holds no private key in PEM that can be read without a passphrase`,
    );
  }
}

async function readCertificateFile(path: string, keyFile: string): Promise<string> {
  return path === keyFile ? readPrivateFile(path) : readTextFile(path);
}
