import { documentInvalid, Problems, problemText, readYamlNodes } from '#runtime/yaml-document.ts';
import type { Located } from '../shapes.ts';
import { type Expectation, type NextRequest, policyTest, type WrittenCase } from './case-shapes.ts';

/** One case: a request and what is decided of it, or several that cause one another. */
export interface TestCase {
  readonly file: string;
  /** Of the case in its file. */
  readonly line: number;
  readonly name: string;
  readonly hops: readonly Hop[];
}

export interface Hop {
  readonly request: Located<NextRequest>;
  readonly expect: Located<Expectation>;
}

/**
 * Reads the cases of `PolicyTest` documents.
 * @param texts by the name of their file
 * @throws CellmeshError `document_invalid` with the problems of all files
 */
export function readCases(texts: ReadonlyMap<string, string>): readonly TestCase[] {
  const problems: string[] = [];
  const cases: TestCase[] = [];
  for (const [file, text] of texts) {
    const found = new Problems(file);
    cases.push(...casesOf(text, file, found));
    problems.push(...found.all.map(problemText));
  }
  if (problems.length > 0) throw documentInvalid(problems);
  return cases;
}

function casesOf(text: string, file: string, problems: Problems): TestCase[] {
  const cases: TestCase[] = [];
  const names = new Set<string>();
  for (const node of readYamlNodes(text, problems) ?? []) {
    for (const { value, at } of policyTest(node, problems)?.spec.cases ?? []) {
      if (names.has(value.name)) problems.add(at, `a second case has the name ${JSON.stringify(value.name)}`);
      names.add(value.name);
      cases.push({ file, line: at.line, name: value.name, hops: hopsOf(value) });
    }
  }
  return cases;
}

function hopsOf({ hops, request, expect }: WrittenCase): readonly Hop[] {
  return hops ?? [{ request: request!, expect: expect! }];
}
