import { join } from 'node:path';
import { createPrivateFile, exists, readPrivateFile } from '#certs/private-file.ts';
import type { Random } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { generateSigningKey, type SigningKey, signingKeyFromPem, signingKeyToPem } from '#tokens/signing-key.ts';

const tagKeyBytes = 32;

/**
 * Identity's own signing keys, made at the first start: the current and the next one. Both are published from the start, so that everybody
 * knows the next key long before the first token that it signs.
 */
export async function openSigningKeys(directory: string, iss: string): Promise<readonly SigningKey[]> {
  return Promise.all(
    ['signing-current.pem', 'signing-next.pem'].map((name) => openSigningKey(join(directory, name), iss)),
  );
}

/** The key of the tags in API keys, made at the first start. */
export async function openTagKey(directory: string, random: Random): Promise<Secret<Buffer>> {
  const path = join(directory, 'api-key-tag.key');
  if (!(await exists(path))) await createPrivateFile(path, random.bytes(tagKeyBytes).toString('hex'));
  return new Secret(Buffer.from(await readPrivateFile(path), 'hex'));
}

async function openSigningKey(path: string, iss: string): Promise<SigningKey> {
  const role = { iss, kind: 'access' } as const;
  if (!(await exists(path))) await createPrivateFile(path, signingKeyToPem(generateSigningKey(role)));
  return signingKeyFromPem(await readPrivateFile(path), role);
}
