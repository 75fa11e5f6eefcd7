import { request } from 'node:http';

export interface Outcome {
  /** 0: the connection ended before a head came. */
  readonly status: number;
  /** All of it came. */
  readonly isComplete: boolean;
  readonly body: Buffer;
  /** Of an answer that is not the application's (docs/errors.md). */
  readonly reason: string | undefined;
}

/** One POST with its length stated, over a connection of its own. */
export function post(port: number, path: string, body: Buffer): Promise<Outcome> {
  return new Promise((resolve) => {
    const outgoing = request({ host: '127.0.0.1', port, method: 'POST', path, agent: false });
    outgoing.setHeader('content-length', body.length);
    outgoing.on('error', () => {
      resolve({ status: 0, isComplete: false, body: Buffer.alloc(0), reason: undefined });
    });
    outgoing.on('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece)).on('error', () => {});
      response.on('close', () => {
        const received = Buffer.concat(pieces);
        const { statusCode: status = 0, complete: isComplete } = response;
        resolve({ status, isComplete, body: received, reason: status < 400 ? undefined : reasonIn(received) });
      });
    });
    outgoing.end(body);
  });
}

function reasonIn(body: Buffer): string | undefined {
  try {
    return (JSON.parse(String(body)) as { reason?: string }).reason;
  } catch {
    return undefined;
  }
}
