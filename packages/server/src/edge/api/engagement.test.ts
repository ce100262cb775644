import { expect, test } from 'vitest';
import { linksOf, withLinks } from './engagement.ts';

const html = `<a href="https://example.com/a?b=1&amp;c=2">one</a> <a class='x' HREF='http://example.com/two'>two</a>
  <a href=https://example.com/three>three</a> <a href="mailto:a@example.com">mail</a> <a href="javascript:alert(1)">x</a>
  <a name="href">none</a> <area href="https://example.com/four"> <a data-href="https://example.com/no">no</a>`;

test('finds the links of an HTML part that lead to the web', () => {
  expect(linksOf(html)).toEqual([
    'https://example.com/a?b=1&c=2',
    'http://example.com/two',
    'https://example.com/three',
    'https://example.com/four',
  ]);
});

test('leads the same links elsewhere, and leaves all else as it is', () => {
  const changed = withLinks(html, (index) => `/links/${index}`);
  expect([...changed.matchAll(/"\/links\/(\d)"/g)].map(([, index]) => index)).toEqual(['0', '1', '2', '3']);
  expect(changed).toContain('<a href="mailto:a@example.com">');
  expect(changed.replace(/"\/links\/\d"/g, '').length).toBeLessThan(html.length);
  expect(withLinks('<p>no links</p>', () => '/never')).toBe('<p>no links</p>');
});
