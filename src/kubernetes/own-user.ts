import { textAt, textsAt } from './json.ts';
import type { Resource } from './resources.ts';

/** Who the API server takes the caller for. */
export interface OwnUser {
  readonly username: string;
  /** The pod that the caller's token is bound to; undefined for other credentials. */
  readonly podUid: string | undefined;
}

/** Every account may ask for this (the role `system:basic-user`). */
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
