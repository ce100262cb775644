import fc from 'fast-check';
import Handlebars from 'handlebars';
import { expect, test } from 'vitest';
import { CompiledTemplate } from './render-batch.ts';
import { valuesFor } from './variables.ts';

const settings = { seed: 20261121, numRuns: 1_000 };
const limits = { maxChars: 200_000, maxSteps: 50_000 };

const data = {
  name: 'Jane',
  markup: '<a href="x">&\'`=</a>',
  list: ['a', 'b', 'c'],
  one: ['x'],
  none: [],
  yes: true,
  no: false,
  count: 3,
  person: { first: 'Ann', address: { city: 'Ulm' } },
  rows: { r1: 'v1', r2: 'v2' },
};

function preview(source: string) {
  const template = CompiledTemplate.compile({ html: source, text: '' });
  if (!(template instanceof CompiledTemplate)) return { refused: template.message };
  const values = valuesFor(template.variables, { endpoint: data as object }, {});
  return template.tryPreview(values, 0, limits);
}

/** Templates that Handlebars takes, of all kinds of statements. */
const templates = fc.letrec<{ body: string; statement: string; block: string }>((tie) => ({
  body: fc.array(tie('statement'), { maxLength: 4 }).map((statements) => statements.join('')),
  statement: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(
      'text ',
      '\n',
      '  ',
      '\n  \n',
      '{{! c }}',
      '{{!-- {{c}} --}}',
      '\\{{raw}}',
      '<p>',
      ' } ',
      ' { { ',
    ),
    fc.constantFrom(
      '{{name}}',
      '{{{markup}}}',
      '{{&markup}}',
      '{{markup}}',
      '{{count}}',
      '{{yes}}',
      '{{no}}',
    ),
    fc.constantFrom(
      '{{person.first}}',
      '{{person/address/city}}',
      '{{list.[1]}}',
      '{{list.length}}',
      '{{nothing}}',
      '{{person.nobody.x}}',
    ),
    fc.constantFrom(
      '{{~name}}',
      '{{name~}}',
      '{{~name~}}',
      '{{@root.name}}',
      '{{lookup list 2}}',
      '{{lookup person "first"}}',
    ),
    fc.constantFrom(
      '{{> p}}',
      '  {{> p}}\n',
      '{{> q name="other"}}',
      '{{#> gone}}fallback {{@root.name}}{{/gone}}',
      '{{#> layout}}in {{@root.count}}{{/layout}}',
    ),
    tie('block'),
  ),
  block: fc
    .tuple(
      fc.constantFrom(
        ['{{#if name}}', '{{else}}', '{{/if}}'],
        ['{{#if none}}\n', '\n{{else}}\n', '\n{{/if}}\n'],
        ['{{#if no}}', '{{else if yes}}', '{{/if}}'],
        ['{{~#if yes~}}', '{{~^~}}', '{{~/if~}}'],
        ['{{#unless no}}', '{{else}}', '{{/unless}}'],
        ['{{#each list}}{{this}}{{@index}}{{@first}}{{@../index}}', '{{else}}', '{{/each}}'],
        ['{{#each rows as |row key|}}{{row}}{{key}}', '{{else}}', '{{/each}}'],
        ['  {{#each none}}\n', '  {{else}}\n', '  {{/each}}\n'],
        ['{{#with person}}{{first}}{{address.city}}', '{{else}}', '{{/with}}'],
        ['{{#with nothing}}', '{{else}}', '{{/with}}'],
        ['{{#list}}{{this}}', '{{^}}', '{{/list}}'],
        ['{{#person}}{{first}}', '{{else}}', '{{/person}}'],
        ['{{^none}}', '{{else}}', '{{/none}}'],
        ['{{#yes}}', '{{else}}', '{{/yes}}'],
      ),
      tie('body'),
      tie('body'),
    )
    .map(([[open, middle, close], first, second]) => open + first + middle + second + close),
}));

// Handlebars does not look further out from within partials, so these say @root.
const partials =
  '{{#*inline "p"}}\n[{{@root.name}}\n{{#if @root.yes}}y{{/if}}]\n{{/inline}}{{#*inline "q"}}({{name}}{{@root.person.first}}){{/inline}}{{#*inline "layout"}}<{{> @partial-block}}>{{/inline}}';

test('random templates give the same as Handlebars', () => {
  let blocks = 0;
  fc.assert(
    fc.property(templates.body, (body) => {
      const source = partials + body;
      blocks += body.includes('{{#') ? 1 : 0;
      // `compat` makes Handlebars look further out for names, as Handlebars.java does.
      const expected = Handlebars.compile(source, { compat: true })(data);
      expect(preview(source)).toMatchObject({ parts: { html: expected } });
    }),
    settings,
  );
  expect(blocks).toBeGreaterThan(150);
});

test('whatever is written, a template is refused or rendered within its limits', () => {
  const pieces = fc.oneof(
    fc.constantFrom(
      '{{',
      '}}',
      '{{{',
      '}}}',
      '{{#',
      '{{/',
      '{{^',
      '{{>',
      '{{#>',
      '{{#*',
      '{{*',
      '{{!',
      '{{{{',
      '}}}}',
      '~',
      '(',
      ')',
      '[',
      ']',
      '|',
      ' as |',
      '=',
      '.',
      '..',
      '../',
      '@',
      '"',
      "'",
      ' ',
      '\n',
      '\\',
      'if',
      'each',
      'with',
      'inline',
      'else',
      'lookup',
      'eq',
      'upper',
      'join',
      'replace',
      'ljust',
      'dateFormat',
      'list',
      'name',
      'rows',
      'person',
      'this',
      '@partial-block',
      '@root',
      '@index',
      '__proto__',
      'constructor',
      '"p"',
      'p',
      '5',
      '-1',
      '1000000',
      'true',
      'null',
      'undefined',
      'size=',
      'tz=',
      'constructor.constructor',
      '"return process"',
      '{{/if}}',
      '{{/each}}',
      '{{/inline}}',
      '\u0000',
      '\ud800',
      '😀',
    ),
    fc.constantFrom(
      '{{#if list}}',
      '{{#each list}}',
      '{{> p}}',
      '{{#*inline "p"}}',
      '{{name}}',
      '{{upper name}}',
    ),
  );
  const soup = fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join(''));
  const outcomes = { refused: 0, error: 0, parts: 0 };
  fc.assert(
    fc.property(soup, (source) => {
      const result = preview(source);
      if ('refused' in result) {
        expect(result.refused).toMatch(/^line \d+: ./);
        outcomes.refused += 1;
      } else if ('error' in result) {
        expect(result.error).toMatch(/^html: ./);
        outcomes.error += 1;
      } else {
        expect(result.parts.html?.isWellFormed()).toBe(true);
        outcomes.parts += 1;
      }
    }),
    { ...settings, numRuns: 4_000 },
  );
  expect(outcomes.parts).toBeGreaterThan(100);
});
