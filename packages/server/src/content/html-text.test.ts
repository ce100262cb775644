import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPlainHtml, TextMaker, textFromHtml } from './html-text.ts';
import { escapeHtml } from './run.ts';

const settings = { seed: 20261121, numRuns: 1_500 };

/** Renders pieces with values between them, both ways. */
function bothWays(pieces: string[], values: string[]) {
  let html = pieces[0]!;
  let shape = '0,';
  values.forEach((value, index) => {
    html += escapeHtml(value) + pieces[index + 1]!;
    shape += `v${index + 1},`;
  });
  return { made: new TextMaker(pieces).text(html, shape, values), whole: textFromHtml(html) };
}

const fragments = [
  '<p>',
  '</p>',
  '<div class="a b">',
  '</div>',
  '<h1>',
  '</h1>',
  '<br>',
  '<br/>',
  '<pre>',
  '</pre>',
  '<ul><li>',
  '</li><li>',
  '</li></ul>',
  '<ol start="3"><li>',
  '</li></ol>',
  '<blockquote>',
  '</blockquote>',
  '<table><tr><td>',
  '</td><td style="color:red">',
  '</td></tr><tr><td>',
  '</td></tr></table>',
  '<a href="https://x.test/?a=1&amp;b=',
  '<a href="',
  '<a href="mailto:',
  "<a href='#",
  '">',
  "'>",
  '</a>',
  '<img alt="',
  '<img src="',
  '" title="',
  '<b>',
  '</b>',
  '<span>',
  '</span>',
  ' ',
  '  ',
  '\n',
  '\t',
  'word',
  'two words',
  '&amp;',
  '&',
  '&#',
  '&nbsp;',
  '&am',
  '5 < 6',
  '<',
  '</',
  '<!-- c ',
  ' -->',
  '-',
  '>',
  '<!--[if mso]>',
  '<![endif]-->',
  '<style>p{}</style>',
  '<style>',
  '</style>',
  '<title>',
  '</title>',
  '<head>',
  '</head>',
  '<body>',
  '</body>',
  '<!DOCTYPE html>',
  '<hr>',
  '.',
  ',',
  '"',
  "'",
  '=',
  '/',
  'lt;',
  '#',
  'mailto:',
];
const arbitraryPiece = fc
  .array(fc.constantFrom(...fragments), { maxLength: 6 })
  .map((parts) => parts.join(''));
const arbitraryValue = fc.oneof(
  fc.constantFrom(
    'x',
    'Jane',
    '',
    ' ',
    'a b',
    'a  b',
    ' a',
    'a ',
    'a\nb',
    '<b>',
    '&',
    '&amp;',
    'lt;',
    '#x',
    '#65;',
    'mailto:a',
    '--',
    '-',
    '>',
    '"',
    "' onclick='",
    '/b',
    'p',
    'style',
    'https://y.test/a?b=c',
    'b',
    '\u00a0',
    '\u200b',
    '😀',
    'über',
    '\uE0000\uE001',
    '5',
    '...',
    'START',
    '=',
    'script',
  ),
  fc.string({ maxLength: 8 }),
);

describe('a text part made from the shape', () => {
  test('is that of the whole HTML, whatever pieces and values', () => {
    const cases = fc
      .array(arbitraryValue, { maxLength: 4 })
      .chain((values) =>
        fc.tuple(
          fc.array(arbitraryPiece, { minLength: values.length + 1, maxLength: values.length + 1 }),
          fc.constant(values),
        ),
      );
    fc.assert(
      fc.property(cases, ([pieces, values]) => {
        const { made, whole } = bothWays(pieces, values);
        expect(made).toBe(whole);
      }),
      settings,
    );
  });

  test('is that of the whole HTML for documents that are plain enough to be made once', () => {
    const text = fc.constantFrom('word', 'two words', ' ', '\n ', 'a&amp;b', '&nbsp;', '1 > 0', '.');
    const value = fc.constant(undefined);
    const { html } = fc.letrec<{ html: (string | undefined)[]; element: (string | undefined)[] }>((tie) => ({
      html: fc
        .array(
          fc.oneof(
            { depthSize: 'small' },
            text.map((item) => [item]),
            value.map((item) => [item]),
            tie('element'),
          ),
          { maxLength: 5 },
        )
        .map((items) => items.flat()),
      element: fc
        .tuple(
          fc.constantFrom(
            ['<p>', '</p>'],
            ['<div id="i">', '</div>'],
            ['<ul><li>', '</li></ul>'],
            ['<pre>', '</pre>'],
            ['<h2>', '</h2>'],
            ['<b>', '</b>'],
            ['<a href="https://x.test/">', '</a>'],
            ['<table><tr><td>', '</td></tr></table>'],
            ['<blockquote>', '</blockquote>'],
          ),
          tie('html'),
        )
        .map(([[open, close], inner]) => [open, ...inner, close]),
    }));
    const plainValue = fc.constantFrom(
      'Jane',
      "O'Neil & <sons>",
      'a b c',
      '&lt;',
      '...',
      '1',
      'x-',
      '--',
      '"',
    );
    let once = 0;
    fc.assert(
      fc.property(html, fc.array(plainValue, { minLength: 30, maxLength: 30 }), (items, pool) => {
        const pieces = [''];
        const values: string[] = [];
        for (const item of items) {
          if (item !== undefined) pieces[pieces.length - 1] += item;
          else if (values.length < pool.length) {
            values.push(pool[values.length]!);
            pieces.push('');
          }
        }
        const marked = pieces.reduce((all, piece, index) => `${all}\uE000${index - 1}\uE001${piece}`);
        if (values.length > 0 && isPlainHtml(marked, new Set())) once += 1;
        const { made, whole } = bothWays(pieces, values);
        expect(made).toBe(whole);
      }),
      settings,
    );
    // The quick way was really taken.
    expect(once).toBeGreaterThan(500);
  });

  test.each([
    ['a tag made of a value', ['<', '>x'], ['b']],
    ['an entity made of a value', ['a &', ''], ['lt;']],
    ['a numeric entity', ['a &#', 'x'], ['65;']],
    ['an attribute without quotes', ['<a href=', '>x</a>'], ['y title']],
    ['the name of an attribute', ['<ol ', '="3"><li>x</li></ol>'], ['start']],
    ['where a list begins', ['<ol start="', '"><li>x</li></ol>'], ['7']],
    ['the end of a comment', ['<!--', '> <b>x</b> -->'], ['--']],
    ['an anchor', ['<a href="', '">x</a>'], ['#top']],
    ['a mail address', ['<a href="mail', 'a@b.test">x</a>'], ['to:']],
    ['the end of a style', ['<style></', '>x</style>'], ['style']],
  ])('not for %s', (_name, pieces, values) => {
    const { made, whole } = bothWays(pieces, values);
    expect(made).toBe(whole);
  });
});

test('what a text part looks like', () => {
  const html = `<!DOCTYPE html><html><head><title>T</title><style>p { color: red }</style></head><body>
    <h1>Hello Jane</h1><table><tr><td>Left</td><td>Right</td></tr><tr><td>Below</td></tr></table>
    <p>Look at <a href="https://x.test/?a=1&amp;b=2">our shop</a> or <a href="mailto:us@x.test">write</a>,
    not <a href="#top">up</a>.</p><ul><li>one</li><li>two</li></ul><img src="https://x.test/pixel.gif" alt="logo">
    </body></html>`;
  expect(textFromHtml(html)).toBe(
    'Hello Jane\n\nLeft\nRight\nBelow\n\nLook at our shop [https://x.test/?a=1&b=2] or write [us@x.test], not up.\n\n * one\n * two',
  );
});

test('deep and broken HTML makes a text, not a crash', () => {
  expect(textFromHtml(`${'<div>'.repeat(20_000)}x`)).toBe('...');
  expect(textFromHtml('<p <b <a href=">')).toEqual(expect.any(String));
});
