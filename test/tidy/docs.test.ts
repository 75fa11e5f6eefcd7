import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { root, sourceFiles } from './source-files.ts';

const pages = globSync(['*.md', 'docs/*.md', 'bench/*.md', 'examples/**/*.md'], { cwd: root }).sort();

describe('the pages', () => {
  test('link to files that exist', () => {
    const broken = pages.flatMap((page) =>
      linksOf(page)
        .filter(({ file }) => !existsSync(join(root, file)))
        .map(({ link }) => `${page}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  test('link to headings that exist', () => {
    const broken = pages.flatMap((page) =>
      linksOf(page)
        .filter(({ file, anchor }) => anchor !== undefined && file.endsWith('.md') && !anchorsOf(file).has(anchor))
        .map(({ link }) => `${page}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  test('that the source names exist', () => {
    const broken = sourceFiles('src').flatMap(({ path, text }) =>
      [...text.matchAll(/\bdocs\/[\w-]+\.md\b/g)]
        .filter(([page]) => !existsSync(join(root, page)))
        .map(([page]) => `${path}: ${page}`),
    );
    assert.deepEqual(broken, []);
  });
});

interface Link {
  /** As it is written. */
  readonly link: string;
  /** From the root. */
  readonly file: string;
  readonly anchor: string | undefined;
}

/** The links of a page into this repository. */
function linksOf(page: string): Link[] {
  return [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [file, anchor] = link.split('#');
      return { link, file: file === '' ? page : join(dirname(page), file!), anchor };
    });
}

/** Headings as GitHub names them in links. */
function anchorsOf(page: string): Set<string> {
  const headings = [...proseOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function proseOf(page: string): string {
  return existsSync(join(root, page)) ? readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '') : '';
}
