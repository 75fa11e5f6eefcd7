import { join } from 'node:path';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { exists, readPrivateFile, writePrivateFile } from '#certs/private-file.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { cellId, type Installation, region } from '../installation.ts';
import { atIdentity } from '../operator.ts';

/** The account that `up` makes for trying things out, and the secrets of its keys, which identity does not keep. */
export interface Demo {
  readonly accountId: string;
  readonly keys: readonly DemoKey[];
}

interface DemoKey {
  readonly keyId: string;
  readonly secret: string;
  readonly scopes: readonly string[];
}

/** All that the demonstration's customers can have, and reading alone. */
const keyScopes: readonly (readonly string[])[] = [
  ['messages:read', 'messages:write', 'deliveries:create', 'deliveries:read', 'deliveries:cancel'],
  ['messages:read'],
];

/** @throws CellmeshError `file_unreadable`, `state_version` */
export async function readDemo(installation: Installation): Promise<Demo> {
  const path = fileOf(installation);
  const text = await readPrivateFile(path);
  try {
    return JSON.parse(text) as Demo;
  } catch (cause) {
    throw new CellmeshError('state_version', `${path} cannot be read; start with --fresh`, { cause });
  }
}

/** Made once; kept in the state directory, readable by its owner alone. */
export async function ensureDemo(installation: Installation): Promise<Demo> {
  if (await exists(fileOf(installation))) return readDemo(installation);
  const demo = await atIdentity({ state: installation.stateDir, region }, async (client) => {
    const request = { name: 'demonstration', cellId };
    const { accountId } = await client.call(IdentityAdmin.method.createAccount, request);
    const keys: DemoKey[] = [];
    for (const scopes of keyScopes) {
      const { key, secret } = await client.call(IdentityAdmin.method.createKey, { accountId, scopes: [...scopes] });
      keys.push({ keyId: key!.keyId, secret, scopes });
    }
    return { accountId, keys };
  });
  await writePrivateFile(fileOf(installation), `${JSON.stringify(demo, undefined, 2)}\n`);
  return demo;
}

function fileOf({ stateDir }: Installation): string {
  return join(stateDir, 'demo.json');
}
