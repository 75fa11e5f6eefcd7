import { BroadcastChannel, receiveMessageOnPort } from 'node:worker_threads';
import { parseScopeList } from '#tokens/scope.ts';
import { copyOfToken, type TokenCopy, tokenOfCopy } from '#tokens/token-copy.ts';
import type { Credential } from './handles.ts';

interface Told {
  readonly handle: string;
  readonly left: string;
  readonly token: TokenCopy;
}

/**
 * Threads of one sidecar tell each other their handles: a request that came in by one thread may cause a call that goes out by another. A handle is
 * told before the application sees it, so a call that brings it finds it here at the latest in what has arrived and was not looked at yet.
 */
export class SharedHandles implements Disposable {
  readonly #channel: BroadcastChannel;
  readonly #onHandle: (handle: string, credential: Credential) => void;

  /** `instance`: of the sidecar, whose threads are all that listen. */
  constructor(instance: string, onHandle: (handle: string, credential: Credential) => void) {
    this.#onHandle = onHandle;
    this.#channel = new BroadcastChannel(`cellmesh handles of ${instance}`);
    this.#channel.unref();
    this.#channel.onmessage = ({ data }: { data: unknown }) => this.#hear(data as Told);
  }

  tell(handle: string, { token, left }: Credential): void {
    this.#channel.postMessage({ handle, left: left.text, token: copyOfToken(token) } satisfies Told);
  }

  /** Hears at once what would come with a later turn of the loop. */
  catchUp(): void {
    for (;;) {
      const next = receiveMessageOnPort(this.#channel as unknown as Parameters<typeof receiveMessageOnPort>[0]);
      if (next === undefined) return;
      this.#hear(next.message as Told);
    }
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }

  #hear({ handle, left, token }: Told): void {
    this.#onHandle(handle, { token: tokenOfCopy(token), left: parseScopeList(left) });
  }
}
