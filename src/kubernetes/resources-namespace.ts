import { textAt } from './json.ts';
import type { Resource } from './resources.ts';

export interface Namespace {
  readonly name: string;
  readonly isTerminating: boolean;
}

export const namespaces: Resource<Namespace> = {
  apiVersion: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  isNamespaced: false,
  read: (object) => ({
    name: textAt(object, 'metadata', 'name') ?? '',
    isTerminating: textAt(object, 'metadata', 'deletionTimestamp') !== undefined,
  }),
};
