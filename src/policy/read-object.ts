import { type Node, type Problem, Problems } from '#runtime/yaml-document.ts';
import { type CellDocument, readCellDocument } from './cell-document.ts';
import { readServicePolicy, type ServicePolicy } from './manifest.ts';
import { objectNode } from './object-node.ts';

/** What is wrong with an object, and in which of its fields. */
export interface Finding {
  readonly field?: string;
  readonly message: string;
}

interface ReadObject<T> {
  /** Undefined where it cannot be read; `problems` say why. */
  readonly read: T | undefined;
  readonly problems: readonly Problem[];
  /** The field that a problem of this object is about: `spec.allow[0].scopes`; empty for the whole, and for another object. */
  readonly fieldOf: (problem: Problem) => string;
  readonly findingOf: (problem: Problem) => Finding;
}

/**
 * Reads a document that is an object already, as `JSON.parse` makes it.
 * @param file what problems have for a file: `ServicePolicy mail/one`, `Cell cell-1`
 */
export function readObject<T>(
  document: object,
  file: string,
  reader: (node: Node, file: string, problems: Problems) => T | undefined,
): ReadObject<T> {
  const { node, fieldAt } = objectNode(document);
  const problems = new Problems(file);
  const found = reader(node, file, problems);
  const fieldOf = (problem: Problem) => (problem.file === file ? fieldAt(problem) : '');
  return {
    read: problems.all.length === 0 ? found : undefined,
    problems: problems.all,
    fieldOf,
    findingOf(problem) {
      const field = fieldOf(problem);
      return { ...(field !== '' && { field }), message: problem.message };
    },
  };
}

/** A manifest that is an object of Kubernetes: one of the two, or neither. */
interface ManifestObject extends Pick<ReadObject<unknown>, 'problems' | 'fieldOf'> {
  readonly file: string;
  readonly cell?: CellDocument;
  readonly policy?: ServicePolicy;
}

/** Reads `apiVersion`, `kind`, name and `spec` of an object; what else Kubernetes keeps in it is not the author's. */
export function readManifestObject(object: unknown): ManifestObject {
  const { apiVersion, kind, metadata, spec } = mapOf(object);
  const { name, namespace } = mapOf(metadata);
  const part = { name, ...(namespace !== undefined && { namespace }) };
  const document = { apiVersion, kind, metadata: part, spec: spec ?? null };
  if (kind === 'Cell') {
    const file = `Cell ${name}`;
    const { read: cell, ...rest } = readObject(document, file, readCellDocument);
    return { file, ...(cell && { cell }), ...rest };
  }
  const file = `ServicePolicy ${namespace}/${name}`;
  const { read: policy, ...rest } = readObject(document, file, readServicePolicy);
  return { file, ...(policy && { policy }), ...rest };
}

function mapOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
