import { listAt, textAt, textsAt } from './json.ts';
import type { Resource } from './resources.ts';

/** A CertificateSigningRequest. The API server says who asks; nobody can write that. */
export interface CertificateRequest {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly signerName: string;
  /** PEM, `CERTIFICATE REQUEST`. */
  readonly request: string;
  readonly username: string;
  /** The first value of an extra field of the user, or undefined. */
  readonly extra: (name: string) => string | undefined;
  /** PEM; empty until it is signed. */
  readonly certificate: string;
  readonly conditions: readonly object[];
  /** Why it will not be signed: `Denied` or `Failed`; undefined while it may be. */
  readonly refusal: string | undefined;
  readonly isApproved: boolean;
}

export const certificateRequests: Resource<CertificateRequest> = {
  apiVersion: 'certificates.k8s.io/v1',
  kind: 'CertificateSigningRequest',
  plural: 'certificatesigningrequests',
  isNamespaced: false,
  read(object) {
    const conditions = listAt(object, 'status', 'conditions');
    const ofType = (...types: readonly string[]) =>
      conditions.find((one) => types.includes(textAt(one, 'type') ?? '') && textAt(one, 'status') === 'True');
    const refused = ofType('Denied', 'Failed');
    return {
      name: textAt(object, 'metadata', 'name') ?? '',
      uid: textAt(object, 'metadata', 'uid') ?? '',
      resourceVersion: textAt(object, 'metadata', 'resourceVersion') ?? '',
      signerName: textAt(object, 'spec', 'signerName') ?? '',
      request: decoded(textAt(object, 'spec', 'request')),
      username: textAt(object, 'spec', 'username') ?? '',
      extra: (name) => textsAt(object, 'spec', 'extra', `authentication.kubernetes.io/${name}`)[0],
      certificate: decoded(textAt(object, 'status', 'certificate')),
      conditions: conditions.filter((one) => typeof one === 'object' && one !== null),
      refusal: refused === undefined ? undefined : (textAt(refused, 'message') ?? textAt(refused, 'type')),
      isApproved: ofType('Approved') !== undefined,
    };
  },
};

/** Who the API server takes the caller for. */
export interface OwnUser {
  readonly username: string;
  /** The pod that the caller's token is bound to; undefined for other credentials. */
  readonly podUid: string | undefined;
}

export const selfReviews: Resource<OwnUser> = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'SelfSubjectReview',
  plural: 'selfsubjectreviews',
  isNamespaced: false,
  read: (object) => ({
    username: textAt(object, 'status', 'userInfo', 'username') ?? '',
    podUid: textsAt(object, 'status', 'userInfo', 'extra', 'authentication.kubernetes.io/pod-uid')[0],
  }),
};

function decoded(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8');
}
