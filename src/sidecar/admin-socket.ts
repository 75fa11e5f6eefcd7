import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CellmeshError } from '#runtime/errors.ts';
import { json, type LocalRoutes, type LocalServer, startLocalServer } from '#runtime/local-server.ts';

interface AdminSocketOptions {
  /** In a directory that belongs to the sidecar alone; made 0700 when it is not there. */
  readonly path: string;
  /** A summary for people. It is written out as it is: no tokens, handles or keys belong in it. */
  readonly state: () => Promise<unknown>;
  /** Takes no more requests of the mesh; resolves when those in flight have ended. */
  readonly drain: () => Promise<void>;
  /** The record of a decision by id, from the ring on disk. */
  readonly decision: (id: string) => Promise<unknown>;
}

/** `sun_path` holds 108 bytes on Linux and 104 on macOS, the terminating zero included; a longer path is cut silently by some systems. */
const socketPathBytesMax = 103;

/**
 * `GET /state`, `GET /decisions/<id>`, `POST /drain` on a Unix socket that only the sidecar's own user opens: no port of it exists that a
 * request could be tricked into reaching.
 * @throws CellmeshError `config_invalid`, `start_failed`
 */
export async function startAdminSocket({ path, state, drain, decision }: AdminSocketOptions): Promise<LocalServer> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new CellmeshError('config_invalid', `${path}: a Unix socket's path has at most ${socketPathBytesMax} bytes`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // What a killed predecessor left behind; the state directory's owner is this process.
  await rm(path, { force: true });
  const routes: LocalRoutes = async (requested, method) => {
    if (method === 'POST') {
      if (requested !== '/drain') return undefined;
      await drain();
      return json(200, { drained: true });
    }
    if (requested === '/state') return json(200, await state());
    const id = /^\/decisions\/([\w.-]{1,80})$/.exec(requested)?.[1];
    const record = id === undefined ? undefined : await decision(id);
    return record === undefined ? undefined : json(200, record);
  };
  const server = await startLocalServer({ path }, routes, ['GET', 'HEAD', 'POST']);
  await chmod(path, 0o600);
  return server;
}
