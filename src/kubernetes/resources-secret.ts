import { Secret } from '#runtime/secret.ts';
import { textAt, valueAt } from './json.ts';
import type { Resource } from './resources.ts';

export interface SecretObject {
  readonly resourceVersion: string;
  /** Of a key; undefined where there is none. */
  readonly valueOf: (key: string) => Secret<string> | undefined;
}

export const secrets: Resource<SecretObject> = {
  apiVersion: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  isNamespaced: true,
  read(object) {
    const data = new Secret(valueAt(object, 'data'));
    return {
      resourceVersion: textAt(object, 'metadata', 'resourceVersion') ?? '',
      valueOf(key) {
        const value = textAt(data.reveal(), key);
        return value === undefined ? undefined : new Secret(Buffer.from(value, 'base64').toString('utf8'));
      },
    };
  },
};
