import { valueAt } from './json.ts';
import type { Resource } from './resources.ts';

interface AccessVerdict {
  readonly isAllowed: boolean;
}

export const subjectAccessReviews: Resource<AccessVerdict> = {
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SubjectAccessReview',
  plural: 'subjectaccessreviews',
  isNamespaced: false,
  // An authorizer that denies wins over one that allows, for whoever answers with both.
  read: (object) => ({
    isAllowed: valueAt(object, 'status', 'allowed') === true && valueAt(object, 'status', 'denied') !== true,
  }),
};
