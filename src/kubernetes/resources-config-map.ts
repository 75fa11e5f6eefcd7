import { listAt, textAt, valueAt } from './json.ts';
import type { Resource } from './resources.ts';

export interface ConfigMap {
  readonly namespace: string;
  readonly name: string;
  readonly data: Readonly<Record<string, string>>;
  /** Who has set fields of it that are still as they were set: the names of field managers. */
  readonly managers: readonly string[];
}

export const configMaps: Resource<ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  isNamespaced: true,
  read(object) {
    const data = Object.entries(Object(valueAt(object, 'data') ?? {}));
    return {
      namespace: textAt(object, 'metadata', 'namespace') ?? '',
      name: textAt(object, 'metadata', 'name') ?? '',
      managers: listAt(object, 'metadata', 'managedFields').map((entry) => textAt(entry, 'manager') ?? ''),
      data: Object.fromEntries(data.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
    };
  },
};
