import { readTextFile } from '#certs/private-file.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Evidence, LastingEvidence } from './svid-issuer-service.ts';

/** Of sidecars and routers: paths of files. */
interface EvidenceSettings {
  readonly joinToken: string | undefined;
  readonly attestTokenFile: string | undefined;
}

/** @throws CellmeshError `config_invalid` */
export function refuseTwoKindsOfEvidence({ joinToken, attestTokenFile }: EvidenceSettings): void {
  if (joinToken === undefined || attestTokenFile === undefined) return;
  throw new CellmeshError('config_invalid', '--join-token and --attest-token-file exclude each other; set one of them');
}

/**
 * What a process shows for its first SVID, as it lies on disk now.
 * @throws CellmeshError `svid_unreadable` when it was given nothing, `file_unreadable`
 */
export async function evidenceOf({ joinToken, attestTokenFile }: EvidenceSettings): Promise<Evidence> {
  const lasting = await lastingEvidenceOf({ attestTokenFile });
  if (lasting !== undefined) return lasting;
  if (joinToken === undefined) {
    throw new CellmeshError(
      'svid_unreadable',
      'there is no SVID and no evidence for one; set --attest-token-file, or create a join token and set --join-token',
    );
  }
  return { case: 'joinToken', value: (await readTextFile(joinToken)).trim() };
}

/** What it shows besides its SVID for the next one; undefined where it joined by what is good once. @throws CellmeshError `file_unreadable` */
export async function lastingEvidenceOf({
  attestTokenFile,
}: Pick<EvidenceSettings, 'attestTokenFile'>): Promise<LastingEvidence | undefined> {
  if (attestTokenFile === undefined) return undefined;
  return { case: 'serviceAccountToken', value: (await readTextFile(attestTokenFile)).trim() };
}
