import { documentOf, type PolicyObject, titleOf } from '#kubernetes/resources-policy.ts';
import { type CellDocument, readCellDocument } from '#policy/cell-document.ts';
import { readServicePolicy, type ServicePolicy } from '#policy/manifest.ts';
import { type Finding, readObject } from '#policy/read-object.ts';
import type { Problem } from '#runtime/yaml-document.ts';

/** One version of an object, read. */
export interface Form<T> {
  readonly generation: number;
  /** Undefined where it cannot be read; `findings` say why. */
  readonly read: T | undefined;
  readonly findings: readonly Finding[];
  readonly spec: unknown;
  /** The document as a file of a directory would have it: JSON, which is YAML. */
  readonly text: string;
  readonly findingOf: (problem: Problem) => Finding;
}

export type PolicyForm = Form<ServicePolicy>;
export type CellForm = Form<CellDocument>;

export function readPolicyForm(object: PolicyObject, spec: unknown, generation: number): PolicyForm {
  return { generation, spec, ...readForm(object, spec, readServicePolicy) };
}

export function readCellForm(object: PolicyObject, spec: unknown, generation: number): CellForm {
  return { generation, spec, ...readForm(object, spec, readCellDocument) };
}

function readForm<T>(object: PolicyObject, spec: unknown, reader: Parameters<typeof readObject<T>>[2]) {
  const document = documentOf(object, spec);
  const { read, problems, findingOf } = readObject(document, titleOf(object), reader);
  return { read, findings: problems.map(findingOf), findingOf, text: JSON.stringify(document, undefined, 2) };
}
