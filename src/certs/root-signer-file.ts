import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { CellmeshError } from '#runtime/errors.ts';
import { type Certificate, parseCertificatesPem } from './certificate.ts';
import { readPrivateFile, readTextFile } from './private-file.ts';
import type { RootSigner } from './root-signer.ts';
import type { Root } from './roots.ts';
import { digestOf, signatureAlgorithmOf } from './signature-algorithm.ts';
import type { TrustDomain } from './spiffe-id.ts';
import { brokenRootRule } from './svid-rules.ts';

interface RootFiles {
  readonly keyFile: string;
  readonly certificateFile: string;
  readonly trustDomain: TrustDomain;
}

/**
 * A root that is there already: an operator's own CA as two PEM files. Of several certificates in the file the first counts.
 * @throws CellmeshError `key_permissions`, `file_unreadable`, `certificate_invalid`, `svid_not_issued` when the two do not belong
 * together or the certificate cannot be the root of the trust domain
 */
export async function rootSignerFromFiles(files: RootFiles): Promise<RootSigner> {
  const { privateKey, certificate } = await readRoot(files);
  return localSigner(privateKey, certificate);
}

/** The root whose key and certificate lie in one file, and which signs. @throws CellmeshError, as `rootSignerFromFiles` */
export async function rootFromFile(path: string, trustDomain: TrustDomain): Promise<Root> {
  const { privateKey, certificate } = await readRoot({ keyFile: path, certificateFile: path, trustDomain });
  const since = certificate.notBefore;
  return { phase: 'active', since, until: undefined, certificate, privateKey, intermediates: [] };
}

/** A signer whose key lies in this process. */
export function localSigner(privateKey: KeyObject, certificate: Certificate): RootSigner {
  const digest = digestOf[signatureAlgorithmOf(certificate.keyAlgorithm ?? 'p256')];
  return { certificate, sign: async (toBeSigned) => sign(digest, toBeSigned, privateKey) };
}

async function readRoot({ keyFile, certificateFile, trustDomain }: RootFiles) {
  const privateKey = readKey(await readPrivateFile(keyFile), keyFile);
  // The certificate is public, but it may lie in the key's file.
  const pem = await readCertificateFile(certificateFile, keyFile);
  const certificate = parseCertificatesPem(pem)[0]!;
  if (!createPublicKey(privateKey).equals(certificate.publicKey)) {
    throw new CellmeshError('svid_not_issued', `${keyFile} is not the key of the certificate in ${certificateFile}`);
  }
  const broken = brokenRootRule(certificate, trustDomain);
  if (broken !== undefined) {
    throw new CellmeshError('svid_not_issued', `${certificateFile} cannot be a root: ${broken.rule}: ${broken.reason}`);
  }
  return { privateKey, certificate };
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
