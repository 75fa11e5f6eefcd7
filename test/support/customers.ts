import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Pool } from 'undici';
import { edgeAuthorityOf, type RunningUp } from './command.ts';

export interface Customers extends AsyncDisposable {
  send(): Promise<{ status: number; body: string; decision: string }>;
}

/** Customers of `cellmesh up` with the demonstration's key, on connections that are kept. A success is a message that came through to the carrier. */
export async function customersOf({ stateDir, portBase }: RunningUp): Promise<Customers> {
  const { accountId, keys } = JSON.parse(await readFile(join(stateDir, 'demo.json'), 'utf8')) as {
    accountId: string;
    keys: { secret: string }[];
  };
  const ca = await readFile(edgeAuthorityOf(stateDir), 'utf8');
  const pool = new Pool(`https://localhost:${portBase + 443}`, { connections: 64, pipelining: 1, connect: { ca } });
  const authorization = `Basic ${Buffer.from(`${accountId}:${keys[0]!.secret}`).toString('base64')}`;
  return {
    async send() {
      const answer = await pool.request({
        method: 'POST',
        path: '/v1/messages',
        headers: { authorization, 'content-type': 'application/json' },
        body: '{"to":"+15550100","text":"hello"}',
      });
      const body = await answer.body.text();
      const isWhole = answer.statusCode === 201 && (JSON.parse(body) as { delivery?: string }).delivery !== undefined;
      return { status: isWhole ? 200 : answer.statusCode, body, decision: String(answer.headers['cellmesh-decision']) };
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}
