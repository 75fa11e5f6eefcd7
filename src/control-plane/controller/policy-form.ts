import { documentOf, type PolicyObject, titleOf } from '#kubernetes/resources-policy.ts';
import { type CellDocument, readCellDocument } from '#policy/cell-document.ts';
import { readServicePolicy, type ServicePolicy } from '#policy/manifest.ts';
import { type Finding, findingOf, objectNode } from '#policy/object-node.ts';
import { type Problem, Problems } from '#runtime/yaml-document.ts';

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
  return readForm(object, spec, generation, readServicePolicy);
}

export function readCellForm(object: PolicyObject, spec: unknown, generation: number): CellForm {
  return readForm(object, spec, generation, readCellDocument);
}

function readForm<T>(
  object: PolicyObject,
  spec: unknown,
  generation: number,
  read: (node: ReturnType<typeof objectNode>['node'], file: string, problems: Problems) => T | undefined,
): Form<T> {
  const title = titleOf(object);
  const document = documentOf(object, spec);
  const located = objectNode(document);
  const problems = new Problems(title);
  const found = read(located.node, title, problems);
  const findings = problems.all.map((problem) => findingOf(problem, located));
  return {
    generation,
    read: findings.length === 0 ? found : undefined,
    findings,
    spec,
    text: JSON.stringify(document, undefined, 2),
    findingOf: (problem) => findingOf(problem, located),
  };
}
