import { textAt, valueAt } from '#kubernetes/json.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';

const operations = ['CREATE', 'UPDATE', 'DELETE', 'CONNECT'] as const;

/** What the API server asks about one object (admission.k8s.io/v1, `AdmissionReview.request`), as far as it is looked at. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  /** Empty: of the object itself. */
  readonly subResource: string;
  /** Empty where the API server makes the name, and at the creation of what has a `generateName`. */
  readonly name: string;
  /** Empty for what belongs to no namespace. */
  readonly namespace: string;
  readonly operation: (typeof operations)[number];
  /** As it will be; undefined when it goes. */
  readonly object: unknown;
  /** As it was; undefined when it comes. */
  readonly oldObject: unknown;
}

export interface AdmissionResponse {
  readonly isAllowed: boolean;
  /** Why not: the sentence that `kubectl` shows. */
  readonly message?: string;
  /** Operations of RFC 6902 that make the object what it should be. */
  readonly patch?: readonly object[];
  /** Sentences that `kubectl` prints beside its own answer. */
  readonly warnings?: readonly string[];
}

/** Of a request: two objects, which may have 3 MiB each where they come by HTTP (`--max-request-bytes`), and what is around them. */
export const reviewBytesMax = 8 * 1024 * 1024;
/** Objects of Kubernetes are some twenty levels deep; JSON columns of others may be deeper, and are not ours. */
export const reviewDepthMax = 128;
/** The API server makes UUIDs. */
const uidPattern = /^[\w-]{1,128}$/;
/** The API server cuts warnings at 256 characters, and drops what is over 4096 of all. */
const warningCharsMax = 256;
const warningsMax = 12;
/** etcd's limit for an event is far above; beyond this nobody reads. */
const messageCharsMax = 16 * 1024;

/**
 * Reads what the API server sends.
 * @throws CellmeshError `request_invalid` for what is no `AdmissionReview` of admission.k8s.io/v1 with a request
 */
export function readAdmissionReview(text: string): AdmissionRequest {
  refuseDeep(text);
  const review = parse(text);
  if (textAt(review, 'apiVersion') !== 'admission.k8s.io/v1' || textAt(review, 'kind') !== 'AdmissionReview')
    throw invalid('it is no AdmissionReview of admission.k8s.io/v1');
  const request = valueAt(review, 'request');
  const uid = textAt(request, 'uid') ?? '';
  if (!uidPattern.test(uid)) throw invalid('`request.uid` is not there, or no uid');
  const operation = operations.find((one) => one === textAt(request, 'operation'));
  if (operation === undefined) throw invalid(`\`request.operation\` is none of ${operations.join(', ')}`);
  const [group, version, kind] = ['group', 'version', 'kind'].map((name) => textAt(request, 'kind', name));
  if (group === undefined || !version || !kind) throw invalid('`request.kind` does not say group, version and kind');
  return {
    uid,
    kind: { group, version, kind },
    subResource: optionalText(request, 'subResource'),
    name: optionalText(request, 'name'),
    namespace: optionalText(request, 'namespace'),
    operation,
    object: objectAt(request, 'object', operation !== 'DELETE'),
    oldObject: objectAt(request, 'oldObject', operation === 'UPDATE' || operation === 'DELETE'),
  };
}

/** The answer, as the API server reads it. A patch is base64 of JSON. */
export function admissionReviewText(
  uid: string,
  { isAllowed, message, patch, warnings = [] }: AdmissionResponse,
): string {
  const response = {
    uid,
    allowed: isAllowed,
    // Its code is what `kubectl` would get of a server that refuses by itself.
    ...(message !== undefined && {
      status: { code: 403, reason: 'Forbidden', message: cut(message, messageCharsMax) },
    }),
    ...(patch !== undefined &&
      patch.length > 0 && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }),
    ...(warnings.length > 0 && { warnings: warningsOf(warnings) }),
  };
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });
}

/** They travel in header lines. */
function warningsOf(warnings: readonly string[]): string[] {
  const shown = warnings.length > warningsMax ? warnings.slice(0, warningsMax - 1) : warnings;
  const more = warnings.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].map((one) =>
    cut(one.replace(/\p{Cc}+/gu, ' '), warningCharsMax),
  );
}

function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`it is not JSON: ${messageOf(error)}`);
  }
}

/** Before it is parsed: whoever walks through it later does so by recursion. */
function refuseDeep(text: string): void {
  let depth = 0;
  let isInText = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (isInText) {
      if (char === 0x5c) at++;
      else if (char === 0x22) isInText = false;
    } else if (char === 0x22) isInText = true;
    else if (char === 0x7b || char === 0x5b) {
      if (++depth > reviewDepthMax) throw invalid(`it is nested deeper than ${reviewDepthMax} levels`);
    } else if (char === 0x7d || char === 0x5d) depth--;
  }
}

function optionalText(request: unknown, name: string): string {
  const value = valueAt(request, name);
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalid(`\`request.${name}\` is no text`);
  return value;
}

function objectAt(request: unknown, name: string, isNeeded: boolean): unknown {
  const value = valueAt(request, name) ?? undefined;
  if (value === undefined ? isNeeded : typeof value !== 'object' || Array.isArray(value))
    throw invalid(`\`request.${name}\` is no object`);
  return value;
}

function invalid(reason: string): CellmeshError {
  return new CellmeshError('request_invalid', `an admission request cannot be read: ${reason}`);
}
