import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reasons } from '#policy/reasons.ts';
import { errorCodes } from '#runtime/error-codes.ts';
import { isGenerated, type SourceFile, sourceFiles } from './source-files.ts';

/** Values that only tests import, and why they are in src/ and open. Limits need no reason: tests go up to them and one past. */
const forTests: Readonly<Record<string, string>> = {
  'src/certs/join-token.ts: JoinTokenRejected': 'the error of a public verb',
  'src/certs/svid-rules.ts: svidRules': 'docs/errors.md is held to it',
  'src/identity/verify-key.ts: neighbourhoodOf': 'a pure part with cases of its own',
  'src/net/peer-refused.ts: connectionRules': 'docs/errors.md is held to it',
  'src/policy/lint/shadowed-rules.ts: shadowedRules': 'a pure part with properties of its own',
  'src/policy/read-documents.ts: readDocuments': 'one file alone',
  'src/runtime/logger.ts: silentLogger': 'the fake of a port, beside it',
  'src/wire/field-lines.ts: isFieldValue': 'a pure part with cases of its own',
};
const isLimit = /(Max|Ms)$/;

const files = sourceFiles('src');
const written = files.filter((file) => !isGenerated(file));
const exported = written.flatMap(exportsOf);
/** What the build makes of the source is used as it is. */
const usedBySource = new Set([...files, ...sourceFiles('build')].flatMap(namesUsedBy));
const usedByOthers = new Set([...sourceFiles('test'), ...sourceFiles('bench')].flatMap(namesUsedBy));

describe('the source', () => {
  test('has no file that the command does not come to load', () => {
    const reached = reachedFrom('src/cli/main.ts');
    const unreached = written.map(({ path }) => path).filter((path) => !reached.has(path));
    assert.deepEqual(unreached, []);
  });

  test('exports nothing that nobody imports', () => {
    const unused = exported
      .map(({ name }) => name)
      .filter((name) => !usedBySource.has(name) && !usedByOthers.has(name));
    assert.deepEqual(unused, []);
  });

  test('exports to tests alone its types, its limits, and what is listed here', () => {
    const values = exported.filter(({ name, isType }) => !isType && !isLimit.test(name));
    const onlyInTests = values.map(({ name }) => name).filter((name) => !usedBySource.has(name));
    assert.deepEqual(onlyInTests.filter((name) => usedByOthers.has(name)).sort(), Object.keys(forTests));
  });

  test('has no code or reason that nothing ends with', () => {
    const tables = /^src\/(runtime\/error-codes|policy\/reasons)\.ts$/;
    const text = written.map((file) => (tables.test(file.path) ? '' : file.text)).join('');
    const codes = [...Object.keys(errorCodes), ...Object.keys(reasons)];
    assert.deepEqual(
      codes.filter((code) => !text.includes(`'${code}'`)),
      [],
    );
  });
});

/** All files whose code or types are needed, at the start or later, by `path`. */
function reachedFrom(path: string, reached = new Set([path])): Set<string> {
  for (const { file } of files.find((one) => one.path === path)!.imports) {
    if (file === undefined || reached.has(file)) continue;
    reached.add(file);
    reachedFrom(file, reached);
  }
  return reached;
}

/** Named as `src/certs/der.ts: readDer`. */
function exportsOf({ path, text }: SourceFile): { readonly name: string; readonly isType: boolean }[] {
  const declared = text.matchAll(/^export (?:async |abstract )*(class|const|function\*?|interface|type) (\w+)/gm);
  const listed = text.matchAll(/^export (?:type )?\{([^}]*)\}/gm);
  return [
    ...declared.map(([, kind, name]) => ({ name: `${path}: ${name}`, isType: /interface|type/.test(kind!) })),
    ...listed.flatMap(([, names]) =>
      names!.split(',').map((name) => ({ name: `${path}: ${name.trim()}`, isType: true })),
    ),
  ];
}

/** What a file imports, by the names that `exportsOf` gives: from an import of names, or out of a dynamic import. */
function namesUsedBy({ text, imports }: SourceFile): string[] {
  const fixed = text.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)'/gm);
  const taken = text.matchAll(/\{([^{}]*)\} = await import\('([^']+)'\)/g);
  const called = text.matchAll(/\(await import\('([^']+)'\)\)\.(\w+)/g).map(([all, from, name]) => [all, name, from]);
  return [...fixed, ...taken, ...called].flatMap(([, names, from]) => {
    const file = imports.find(({ specifier }) => specifier === from)?.file;
    return names!.split(',').map((name) => `${file}: ${/^\s*(?:type )?(\w+)/.exec(name)?.[1]}`);
  });
}
