import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { generatedDocs } from '../scripts/generated-docs.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

test('the documents that are made from the sources are up to date (npm run docs)', async () => {
  for (const [file, text] of await generatedDocs())
    expect(await readFile(file, 'utf8'), file.pathname).toBe(text);
});

describe('links in the documents', async () => {
  const pages = new Map<string, string>();
  for (const folder of ['', 'docs'])
    for (const name of await readdir(join(root, folder)))
      if (name.endsWith('.md'))
        pages.set(join(folder, name), withoutCode(await readFile(join(root, folder, name), 'utf8')));

  test.each([...pages.keys()])('%s leads nowhere into the void', async (page) => {
    const dead: string[] = [];
    for (const [, target] of pages.get(page)!.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?|mailto):/.test(target!)) continue;
      const [path, anchor] = target!.split('#') as [string, string?];
      const file = path === '' ? page : join(page, '..', path);
      const text = pages.get(file) ?? (await readFile(join(root, file), 'utf8').catch(() => undefined));
      if (text === undefined || (anchor !== undefined && !anchorsOf(text).has(anchor))) dead.push(target!);
    }
    expect(dead).toEqual([]);
  });

  test('every page of docs/ is linked from the README', () => {
    const readme = pages.get('README.md')!;
    const missing = [...pages.keys()].filter(
      (page) => page.startsWith('docs/') && !readme.includes(`(${page}`),
    );
    expect(missing).toEqual([]);
  });
});

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '');
}

/** The anchors that GitHub makes of headings. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  );
}
