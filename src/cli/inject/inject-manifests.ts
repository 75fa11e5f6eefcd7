import type { InjectorSettings } from '#control-plane/injector/settings.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { problemText } from '#runtime/yaml-document.ts';
import { readYamlStream } from '#runtime/yaml-stream.ts';
import { type Injected, injectObjects } from './inject-objects.ts';

interface InjectedManifests {
  /** YAML; a document without pods is the same to the byte. */
  readonly text: string;
  readonly documents: readonly unknown[];
  readonly results: readonly Injected[];
}

/**
 * The manifests of one file with sidecars in their pods: all of them, or none.
 * @throws CellmeshError `document_invalid`, `injection_refused` with `file:line:column: object: reason` a problem
 */
export function injectManifests(text: string, file: string, settings: InjectorSettings): InjectedManifests {
  const problems: string[] = [];
  const all = readYamlStream(text, file).map((document) => {
    const { value, results } = injectObjects(document.value, settings);
    for (const result of results.filter(({ outcome }) => outcome === 'refused')) {
      for (const reason of result.reasons ?? []) {
        problems.push(problemText({ file, line: document.line, column: 1, message: `${nameOf(result)}: ${reason}` }));
      }
    }
    const isChanged = results.some(({ outcome }) => outcome === 'injected');
    return { value, results, text: isChanged ? document.withValue(value) : document.text };
  });
  if (problems.length > 0) {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
    throw new CellmeshError('injection_refused', `${problems[0]}${more}`, { problems });
  }
  return {
    text: all.map((one) => one.text).join(''),
    documents: all.map(({ value }) => value).filter((value) => value !== undefined),
    results: all.flatMap(({ results }) => results),
  };
}

/** `Deployment messaging/api`. */
export function nameOf({ kind, namespace, name }: Injected): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}
