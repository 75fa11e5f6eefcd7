import { type Problem, Problems } from '#runtime/yaml-document.ts';
import { type CellDocument, readCellDocument } from './cell-document.ts';
import { readServicePolicy, type ServicePolicy } from './manifest.ts';
import { objectNode } from './object-node.ts';

/** A manifest that is an object of Kubernetes. */
interface ManifestObject {
  /** `ServicePolicy mail/one`, `Cell cell-1`: what findings have for a file. */
  readonly file: string;
  readonly cell?: CellDocument;
  readonly policy?: ServicePolicy;
  /** Why it is neither. */
  readonly problems: readonly Problem[];
  /** The field that a finding about this object is about: `spec.allow[0].scopes`; empty for the whole. */
  readonly fieldOf: (problem: Problem) => string;
}

/** Reads `apiVersion`, `kind`, name and `spec` of an object; what else Kubernetes keeps in it is not the author's. */
export function readManifestObject(object: unknown): ManifestObject {
  const { apiVersion, kind, metadata, spec } = mapOf(object);
  const { name, namespace } = mapOf(metadata);
  const file = kind === 'Cell' ? `Cell ${name}` : `ServicePolicy ${namespace}/${name}`;
  const problems = new Problems(file);
  const part = { name, ...(namespace !== undefined && { namespace }) };
  const { node, fieldAt } = objectNode({ apiVersion, kind, metadata: part, spec: spec ?? null });
  const cell = kind === 'Cell' ? readCellDocument(node, file, problems) : undefined;
  const policy = kind === 'Cell' ? undefined : readServicePolicy(node, file, problems);
  const isGood = problems.all.length === 0;
  return {
    file,
    ...(isGood && cell && { cell }),
    ...(isGood && policy && { policy }),
    problems: problems.all,
    fieldOf: (problem) => (problem.file === file ? fieldAt(problem) : ''),
  };
}

function mapOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
