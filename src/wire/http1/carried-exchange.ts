import type { Duplex } from 'node:stream';
import type { OutgoingRequest, ResponseHead } from '../message.ts';
import type { WireError } from '../wire-error.ts';

/** The exchange that a connection carries. */
export interface CarriedExchange {
  readonly request: OutgoingRequest;
  informed(head: ResponseHead): void;
  /** The upgrade that was asked for: `socket` is no longer the connection's. */
  switched(socket: Duplex, head: ResponseHead): void;
  responded(head: ResponseHead): void;
  /** False asks for silence until `resume`. */
  data(bytes: Buffer): boolean;
  requestWritable(): void;
  completed(trailers: string): void;
  /** `isUnanswered`: not a byte of a response came, on a connection that had served before. */
  connectionFailed(error: WireError, isUnanswered: boolean): void;
}
