import { type Problem, Problems, readYamlNodes } from '#runtime/yaml-document.ts';
import { request, type WrittenRequest } from './case-shapes.ts';

/** A request by itself, in YAML or JSON, as cases have it. @param what the name that problems go by */
export function readRequest(
  text: string,
  what: string,
): { readonly request: WrittenRequest | undefined; readonly problems: readonly Problem[] } {
  const problems = new Problems(what);
  const [node, ...others] = readYamlNodes(text, problems) ?? [];
  if (others.length > 0) problems.add(others[0]!.at, 'one request is expected');
  const read = node && request(node, problems);
  if (node === undefined && problems.all.length === 0) problems.add({ line: 1, column: 1 }, 'a request is expected');
  return { request: problems.all.length === 0 ? read : undefined, problems: problems.all };
}
