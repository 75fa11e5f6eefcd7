import type { FieldSet, SpecialFieldName } from './field-names.ts';
import type { Upgrade } from './websocket.ts';

/** How the end of a body is known. `until-close` exists in responses only. */
export type Framing = 'none' | 'length' | 'chunked' | 'until-close';

/** `origin` /path?query · `absolute` http://host/path · `authority` host:port, CONNECT only · `asterisk` *, OPTIONS only. */
export type TargetForm = 'origin' | 'absolute' | 'authority' | 'asterisk';

/** The field section of a message, as its bytes; nothing is split into strings before somebody asks. */
export interface Fields {
  /** The value of the first field of that name, without surrounding white space. */
  field(name: SpecialFieldName): string | undefined;
  /** How many lines carry the name: what must be single is checked with this. */
  fieldCount(name: SpecialFieldName): number;
  /** As `field` and `fieldCount`, by the id of `fieldIds`: what every message is asked costs no look-up of a name. */
  fieldById(id: number): string | undefined;
  countById(id: number): number;
  /** Any field by its lower-case name, values joined with `, `. Walks all lines: not for the request path. */
  find(name: string): string | undefined;
  /** All fields in order, names as sent. For logs of tests and tools. */
  entries(): IterableIterator<readonly [name: string, value: string]>;
  /**
   * The field lines, each with its CRLF, without hop-by-hop and framing fields, without what `Connection` nominates, and
   * without those of `drop`. This text is what every engine takes as the fields of an outgoing message.
   */
  linesExcept(drop: FieldSet): string;
}

export interface RequestHead extends Fields {
  readonly method: string;
  /** As sent. */
  readonly target: string;
  readonly form: TargetForm;
  /** Path and query to forward: `/` for an absolute form without a path, `*` for asterisk, empty for authority. */
  readonly path: string;
  /** Host and optional port that the request names (from the target where it says so, else `Host`), lower case. */
  readonly authority: string;
  readonly framing: Exclude<Framing, 'until-close'>;
  /** Bytes; -1 unless `framing` is `length`. */
  readonly contentLength: number;
  /** The client waits for 100 Continue before it sends the body. */
  readonly expectsContinue: boolean;
  /** The client says that it will not drop trailers (`TE: trailers`); gRPC servers demand it. */
  readonly acceptsTrailers: boolean;
  /** The client asks to go on in another protocol: no body follows, `acceptTunnel` agrees. Its method is GET in both versions of HTTP. */
  readonly upgrade: Upgrade | undefined;
}

export interface ResponseHead extends Fields {
  readonly status: number;
  readonly reason: string;
  /** `none` for responses that have no body whatever their fields say (HEAD, 1xx, 204, 304, 2xx to CONNECT). */
  readonly framing: Framing;
  /** What `Content-Length` says, also where no body follows (HEAD, 304); -1 without. */
  readonly contentLength: number;
}

/** `fields`: lines with CRLF as `Fields.linesExcept` and `fieldLines` make them, without `host` and framing fields. */
export interface OutgoingRequest {
  readonly method: string;
  readonly target: string;
  /** Host and optional port: `Host`, or `:authority`. */
  readonly authority: string;
  readonly fields: string;
  readonly framing: Exclude<Framing, 'until-close'>;
  readonly contentLength: number;
  readonly expectsContinue: boolean;
  readonly acceptsTrailers: boolean;
  /** Go on in this protocol; the framing is `none`. */
  readonly upgrade?: Upgrade | undefined;
  /** From the end of the request to the head of its response, where the pool's own time is not right. Milliseconds. */
  readonly responseHeadMs?: number | undefined;
  /** Between two pieces of its response's body, likewise. */
  readonly responseIdleMs?: number | undefined;
}

/** A `length` framing on a response that has no body (HEAD, 304) writes `Content-Length` alone. */
export interface OutgoingResponse {
  readonly status: number;
  readonly reason?: string;
  readonly fields: string;
  readonly framing: Exclude<Framing, 'until-close'>;
  readonly contentLength: number;
}
