import { Agent, request } from 'undici';
import { readTextFile } from '#certs/private-file.ts';
import { sleep, systemClock } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Installation } from '../installation.ts';
import type { Demo } from './demo-account.ts';

interface FirstCallOptions {
  readonly installation: Installation;
  readonly demo: Demo;
  readonly edgeAuthority: string;
}

/** Instances of services become known within a second or two of each other. */
const patienceMs = 30_000;
const againMs = 100;

/**
 * A customer's request through router and five services, tried until it goes through: what `up` says runs, runs.
 * @throws CellmeshError `start_failed` with the last answer
 */
export async function firstCall({ installation, demo, edgeAuthority }: FirstCallOptions): Promise<void> {
  const { host, port } = installation.router.listen;
  const connect = { ca: await readTextFile(edgeAuthority) };
  const dispatcher = new Agent({ connect });
  const credentials = Buffer.from(`${demo.accountId}:${demo.keys[0]!.secret}`).toString('base64');
  const until = systemClock.monotonic() + patienceMs;
  let last = '';
  try {
    while (systemClock.monotonic() < until) {
      try {
        const { statusCode, body } = await request(`https://${host}:${port}/v1/messages`, {
          dispatcher,
          method: 'POST',
          headers: {
            host: `localhost:${port}`,
            authorization: `Basic ${credentials}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify({ to: '+15550100', text: 'the first message' }),
        });
        const text = await body.text();
        if (statusCode === 201) return;
        last = `${statusCode} ${text.trim()}`;
      } catch (error) {
        last = messageOf(error);
      }
      await sleep(systemClock, againMs);
    }
  } finally {
    await dispatcher.close();
  }
  throw new CellmeshError('start_failed', `a customer's call does not go through: ${last}`);
}
