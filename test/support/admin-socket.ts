import { request } from 'node:http';
import { join } from 'node:path';

/** What a sidecar's admin socket answers, by the place that it has in the state directory. */
export function askAdminSocket(
  stateDir: string,
  path: string,
  method = 'GET',
): Promise<{ status: number; text: string }> {
  const socketPath = join(stateDir, 'admin', 'sidecar.sock');
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, method, agent: false }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode ?? 0, text });
    });
    asking.once('error', reject);
    asking.end();
  });
}

export async function sidecarState(
  stateDir: string,
): Promise<{ policy?: { version: string }; [field: string]: unknown }> {
  return JSON.parse((await askAdminSocket(stateDir, '/state')).text);
}
