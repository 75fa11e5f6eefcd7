import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isGenerated, sourceFiles } from './source-files.ts';

const files = ['src', 'test', 'bench', 'build'].flatMap(sourceFiles).filter((file) => !isGenerated(file));
const source = files.filter(({ path }) => path.startsWith('src/'));

const fileLinesMax = 300;
const functionLinesMax = 60;

/** What is longer, and how long it may be: each number only ever falls, and goes when it is no longer needed. */
const longFiles: Readonly<Record<string, number>> = {
  'src/identity/identity-store.ts': 306,
  'src/wire/http1/server-connection.ts': 345,
};
const longFunctions: Readonly<Record<string, number>> = {
  'src/cli/up/start-cell.ts: startCell': 63,
  'src/control-plane/start-control-plane.ts: startControlPlane': 80,
  'src/identity/admin-service.ts: adminService': 71,
  'src/identity/start-identity.ts: startIdentity': 74,
  'src/router/start-router.ts: startRouter': 95,
};

interface Ban {
  readonly what: RegExp;
  readonly instead: string;
  /** Files that are the replacement, or have a reason that stands there. */
  readonly except?: RegExp;
}

const bans: readonly Ban[] = [
  {
    what: /\bprocess\.exit\(/,
    instead: 'process.exitCode, and an end to what is owned',
    except: /^src\/cli\/roles\.ts$/,
  },
  { what: /\bconsole\./, instead: 'a Logger, or cli/output.ts' },
  { what: /\bMath\.random\(/, instead: 'Random of runtime/random.ts' },
  { what: /\bDate\.now\(|\bnew Date\(\)/, instead: 'Clock of runtime/clock.ts', except: /^src\/runtime\/clock\.ts$/ },
  { what: /\bset(Timeout|Interval)\(/, instead: 'Clock.schedule', except: /^src\/runtime\/clock\.ts$/ },
  { what: /[:<]\s*any\b|\bas any\b/, instead: 'unknown and a parser' },
  { what: /@ts-(ignore|expect-error|nocheck)/, instead: 'types that say what is true' },
  { what: /^export default\b/m, instead: 'a named export' },
  { what: /^export \* /m, instead: 'an import from the file that has it' },
  { what: /\brejectUnauthorized: false\b/, instead: 'net/', except: /^src\/net\// },
  {
    // V8 takes a function that an assignment gives to a member for a constant, and allocates it as old: what it holds is garbage for a full
    // collection, and until then keeps what came after it alive. With one for each request that was a fifth of all memory (docs/performance.md).
    what: /\.#?\w+ = (async )?(\([^()]*\)|\w+) =>/,
    instead: 'an object with a method, or a variable first',
    // Of a thread or a connection.
    except: new RegExp(
      '^(test|bench|build|src/(control-plane|kubernetes|cli))/' +
        '|^src/(net/shared-reads|wire/detect-protocol|wire/http1/request-head-reader|sidecar/(shared-handles|connection-metrics))[.]ts$',
    ),
  },
];

describe('every file', () => {
  test('has a name of whole words with hyphens', () => {
    const wrong = files.filter(({ path }) => !/^[a-z0-9/-]+(\.test)?\.ts$/.test(path)).map(({ path }) => path);
    assert.deepEqual(wrong, []);
  });

  test('is named after what is in it', () => {
    const wrong = files.filter(({ path }) => /\/(index|utils?|helpers?|common|misc)\.ts$/.test(path));
    assert.deepEqual(
      wrong.map(({ path }) => path),
      [],
    );
  });

  test('says TODO to an issue, not to a reader', () => {
    const wrong = files.filter(
      ({ path, text }) => !path.endsWith('style.test.ts') && /\b(TODO|FIXME|XXX)\b/.test(text),
    );
    assert.deepEqual(
      wrong.map(({ path }) => path),
      [],
    );
  });
});

describe('the source', () => {
  for (const { what, instead, except } of bans) {
    test(`has ${instead} in place of ${what}`, () => {
      const wrong = source
        .filter(({ path }) => except?.test(path) !== true)
        .filter(({ text }) => what.test(withoutComments(text)))
        .map(({ path }) => path);
      assert.deepEqual(wrong, []);
    });
  }

  test(`has files of at most ${fileLinesMax} lines`, () => {
    const lengths = source.map(({ path, text }) => [path, text.split('\n').length - 1] as const);
    assert.deepEqual(Object.fromEntries(lengths.filter(([, lines]) => lines > fileLinesMax)), longFiles);
  });

  test(`has functions of at most ${functionLinesMax} lines`, () => {
    const long = source.flatMap(({ path, text }) =>
      functionsOf(text)
        .filter(({ lines }) => lines > functionLinesMax)
        .map(({ name, lines }) => [`${path}: ${name}`, lines] as const),
    );
    assert.deepEqual(Object.fromEntries(long), longFunctions);
  });
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

/** Functions and methods of formatted code: from the line that opens the block to the brace at the same indent. */
function functionsOf(text: string): { readonly name: string; readonly lines: number }[] {
  const found: { name: string; lines: number }[] = [];
  const lines = text.split('\n');
  for (let start = 0; start < lines.length; start++) {
    const match = opening.exec(lines[start]!);
    if (match === null || isKeyword.test(match[2]!)) continue;
    const indent = match[1]!;
    const atIndent = (from: number) =>
      lines.findIndex((line, at) => at > from && line.startsWith(indent) && /\S/.test(line.charAt(indent.length)));
    let end = atIndent(start);
    // The parameters stand on lines of their own.
    if (lines[start]!.endsWith('(')) end = /^\s*\).*\{$/.test(lines[end] ?? '') ? atIndent(end) : -1;
    if (lines[end] === `${indent}}`) found.push({ name: match[2]!, lines: end - start + 1 });
  }
  return found;
}

const modifiers = '(?:export |async |static |override |private |get |set |function\\*? )*';
const opening = new RegExp(`^(\\s*)${modifiers}([\\w#]+)(?:<.*>)?\\((?:.*[{(])?$`);
const isKeyword = /^(if|for|while|switch|return|await|catch)$/;
