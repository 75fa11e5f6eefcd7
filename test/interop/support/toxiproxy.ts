import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';

/** https://github.com/Shopify/toxiproxy#toxics; times in milliseconds, `rate` in KB/s, a slicer's `delay` in microseconds. */
export interface Toxic {
  readonly type: 'latency' | 'bandwidth' | 'timeout' | 'reset_peer' | 'slicer' | 'limit_data';
  /** Towards whom: `upstream` is the server, `downstream` the client. */
  readonly stream: 'upstream' | 'downstream';
  readonly attributes: Readonly<Record<string, number>>;
}

export interface Toxiproxy extends AsyncDisposable {
  /** A proxy without toxics. Addresses are `host:port`. */
  addProxy(name: string, listen: string, upstream: string): Promise<void>;
  /** From now on, for connections that are open too. */
  poison(name: string, toxic: Toxic): Promise<void>;
  /** Takes all toxics away. */
  cure(): Promise<void>;
}

/** Toxiproxy as a process of its own, spoken to by its HTTP API. */
export async function startToxiproxy(path: string): Promise<Toxiproxy> {
  const port = await freePort();
  const child = spawn(path, ['-host', '127.0.0.1', '-port', String(port)], { stdio: 'ignore' });
  const call = async (endpoint: string, body?: object) => {
    const response = await fetch(`http://127.0.0.1:${port}${endpoint}`, {
      method: body === undefined ? 'GET' : 'POST',
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${endpoint}: ${response.status} ${await response.text()}`);
  };
  await eventually(() => call('/version'));
  return {
    addProxy: (name, listen, upstream) => call('/proxies', { name, listen, upstream, enabled: true }),
    poison: (name, toxic) => call(`/proxies/${name}/toxics`, toxic),
    cure: () => call('/reset', {}),
    async [Symbol.asyncDispose]() {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
