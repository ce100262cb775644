import Handlebars from 'handlebars';
import { describe, expect, test } from 'vitest';
import { CompiledTemplate } from './render-batch.ts';
import { type Defaults, valuesFor } from './variables.ts';

const limits = { maxChars: 100_000, maxSteps: 20_000 };
const now = Date.UTC(2026, 6, 4, 21, 5, 9, 7);

const jane = {
  Id: 'e1',
  Address: 'jane@example.com',
  ChannelType: 'EMAIL',
  CreationDate: '2019-06-30T11:45:25.220Z',
  Attributes: {
    colors: ['red', 'green', 'blue'],
    description: ['my first post'],
    markup: ['<b>"bold" & \'new\'</b>'],
    cleared: [],
    empty: [''],
    constructor: ['own constructor'],
    'first name': ['spaced'],
  },
  Metrics: { visits: 5, price: 2.3 },
  Location: { City: 'Los Angeles', Country: 'US' },
  User: { UserId: 'u1', UserAttributes: { FirstName: ['Jane'], Age: ['17'], Start: ['09/19/2020'] } },
};

function run(
  parts: Record<string, string>,
  substitutions = {},
  defaults: Defaults = {},
  endpoint: object = jane,
) {
  const template = CompiledTemplate.compile(parts);
  if (!(template instanceof CompiledTemplate)) return { syntax: `${template.part}: ${template.message}` };
  const values = valuesFor(template.variables, { endpoint, substitutions }, defaults);
  return template.render(values, now, limits);
}

/** The plain text that a template makes, or what went wrong. */
function text(source: string, substitutions = {}, defaults: Defaults = {}, endpoint: object = jane): unknown {
  const result = run({ body: source }, substitutions, defaults, endpoint);
  return 'parts' in result ? result.parts.body : result;
}

describe('the same as Handlebars itself', () => {
  const data = {
    name: 'Jane',
    markup: '<a href="x">&\'`=</a>',
    list: ['a', 'b', 'c'],
    one: ['x'],
    none: [],
    zero: 0,
    yes: true,
    no: false,
    person: { first: 'Ann', last: { name: 'Lee' } },
    rows: { r1: 'v1', r2: 'v2' },
  };
  const corpus = [
    'plain',
    'Hello {{name}}!',
    '{{markup}} {{{markup}}} {{&markup}}',
    '{{#if name}}yes{{else}}no{{/if}} {{#if none}}yes{{else}}no{{/if}} {{#unless zero}}zero{{/unless}}',
    '{{#if zero includeZero=true}}zero{{else}}no{{/if}}',
    '{{#if no}}a{{else if yes}}b{{else}}c{{/if}}',
    '{{#each list}}{{@index}}{{#if @first}}F{{/if}}{{#if @last}}L{{/if}}:{{this}} {{../name}};{{/each}}',
    '{{#each none}}x{{else}}nothing of {{name}}{{/each}}',
    '{{#each rows}}{{@key}}={{this}},{{/each}}',
    '{{#each list as |item index|}}{{index}}{{item}}{{#each ../one as |inner|}}{{item}}{{inner}}{{@../index}}{{/each}} {{/each}}',
    '{{#with person}}{{first}} {{last.name}} {{#with last}}{{name}} {{../first}} {{../../name}}{{/with}}{{/with}}',
    '{{#with person as |p|}}{{p.first}}{{p.last.name}}{{/with}}',
    '{{#with nobody}}x{{else}}nobody{{/with}}',
    '{{#list}}<{{this}}>{{/list}}{{#yes}}y{{/yes}}{{^no}}n{{/no}}{{#person}}{{first}}{{/person}}{{^none}}empty{{/none}}',
    '{{person.first}} {{person/first}} {{person.[first]}} {{[name]}} {{list.[1]}} {{list.length}} {{this.name}} {{./name}}',
    '{{lookup list 1}} {{lookup person "first"}} {{#each list}}{{lookup ../list @index}}{{/each}}',
    '{{@root.name}} {{#each one}}{{@root.name}}{{/each}}',
    '  {{~name~}}  x {{~#if yes~}}  y  {{~/if~}} z',
    'a\n{{#if yes}}\n  b\n{{/if}}\nc\n',
    'a\n  {{! comment }}\nb{{!-- {{x}} --}}c\n{{#each list}}\n- {{this}}\n{{/each}}\nend',
    '{{#*inline "p"}}[{{name}}]{{/inline}}{{> p}}{{> "p"}}',
    '{{> p one}}{{#*inline "p"}}<{{#if first}}{{first}}{{/if}}>{{/inline}}{{> p person}}{{#with person}}{{> p}}{{/with}}',
    '{{#*inline "p"}}{{a}}-{{name}}{{/inline}}{{> p a="1"}} {{> p a=person.first name="over"}}',
    'x\n  {{> p}}\ny{{#*inline "p"}}\nl1\n\nl2\n{{/inline}}\n',
    '{{#> nothing}}fallback {{name}}{{/nothing}}',
    '{{#*inline "layout"}}<{{> @partial-block}}|{{> @partial-block}}>{{/inline}}{{#> layout}}in {{name}}{{/layout}}',
    '{{> (lookup rows "r1")}}{{#*inline "v1"}}dynamic{{/inline}}',
    '{{#*inline "a"}}A{{#if this}}{{> b}}{{/if}}{{/inline}}{{#*inline "b"}}B{{/inline}}{{#each list}}{{> a}}{{/each}}',
    '\\{{escaped}} \\\\{{name}} {{"name"}} {{zero}} {{no}} {{yes}}',
    '{{#if (lookup person "first")}}{{lookup (lookup person "last") "name"}}{{/if}}',
    'a {{#if yes}}b{{else}}c{{/if}} d\n{{#if no}}\nx\n{{else}}\ny\n{{/if}}\n',
  ];
  test.each(corpus)('%s', (source) => {
    const expected = Handlebars.compile(source)(data);
    const mine = run({ html: source, text: '' }, {}, {}, data);
    expect('parts' in mine && mine.parts.html).toBe(expected);
  });
});

describe('variables', () => {
  test('of every kind, case-exact', () => {
    expect(text('{{User.UserAttributes.FirstName}} {{User.UserId}} {{Address}} {{Location.City}}')).toBe(
      'Jane u1 jane@example.com Los Angeles',
    );
    expect(text('{{Metrics.visits}} {{Attributes.[first name]}}')).toBe('5 spaced');
    expect(text('{{user.UserId}}')).toEqual({ missing: ['user.UserId'] });
  });

  test('a list prints its values, an index one of them; one value is a list of one', () => {
    expect(text('{{Attributes.colors}} {{Attributes.colors.[1]}} {{Location.City.[0]}}')).toBe(
      'red, green, blue green Los Angeles',
    );
    expect(text('{{Attributes.colors.[3]}}')).toEqual({ missing: ['Attributes.colors'] });
    expect(text('{{#each Location.City}}{{this}}{{/each}}')).toBe('Los Angeles');
  });

  test('substitutions win over the endpoint, the endpoint over the defaults', () => {
    const defaults = {
      'User.UserAttributes.FirstName': 'friend',
      'User.UserAttributes.LastName': 'Doe',
      x: 'd',
    };
    const source = '{{User.UserAttributes.FirstName}} {{User.UserAttributes.LastName.[0]}} {{x}}';
    expect(text(source, {}, defaults)).toBe('Jane Doe d');
    expect(text(source, { 'User.UserAttributes.FirstName': ['Joan'], x: ['s'] }, defaults)).toBe(
      'Joan Doe s',
    );
  });

  test('substitutions and defaults reach into with, each and lookup', () => {
    const substitutions = { 'User.UserAttributes.FirstName': ['Joan'], 'Cart.total': ['9'] };
    const defaults = { 'User.UserAttributes.Title': 'Dr' };
    const source =
      '{{#with User.UserAttributes}}{{Title}} {{FirstName}}{{/with}} {{lookup Cart "total"}} {{#each Cart}}{{@key}}{{/each}}';
    expect(text(source, substitutions, defaults)).toBe('Dr Joan 9 total');
  });

  test('inside a block names are looked for further out, as in Handlebars.java', () => {
    expect(text('{{#each Attributes.colors}}{{User.UserId}}{{this}} {{/each}}')).toBe(
      'u1red u1green u1blue ',
    );
  });

  test('a partial sees the partials of its block, also when it is an inline one itself', () => {
    expect(
      text(
        '{{#*inline "layout"}}({{> part}}){{/inline}}{{#> layout}}{{#*inline "part"}}P{{User.UserId}}{{/inline}}{{/layout}}',
      ),
    ).toBe('(Pu1)');
  });

  test('names of the prototype are nobody’s, unless the person has such an attribute', () => {
    const own = { Attributes: JSON.parse('{"__proto__":["p"],"constructor":["c"],"toString":["t"]}') };
    expect(
      text('{{Attributes.__proto__}}{{Attributes.constructor}}{{lookup Attributes "toString"}}', {}, {}, own),
    ).toBe('pct');
    expect(text('{{#with Attributes}}{{__proto__}}{{constructor}}{{/with}}', {}, {}, own)).toBe('pc');
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '__defineGetter__']) {
      expect(text(`{{Location.${name}}}`)).toEqual({ missing: [`Location.${name}`] });
      expect(text(`{{${name}}}`)).toEqual({ missing: [name] });
      expect(text(`{{lookup Location "${name}"}}`)).toEqual({ missing: [`Location.${name}`] });
    }
    expect(text('{{Attributes.constructor.constructor}}{{Location.City.constructor}}')).toHaveProperty(
      'missing',
    );
    expect(text('{{x}}', JSON.parse('{"__proto__":["evil"]}'), JSON.parse('{"__proto__":"evil"}'))).toEqual({
      missing: ['x'],
    });
    expect(({} as Record<string, unknown>).evil).toBeUndefined();
  });
});

describe('a variable without a value', () => {
  test('is reported by name, once, for all parts', () => {
    expect(run({ subject: '{{Attributes.a}} {{upper Attributes.b.[0]}}', body: '{{Attributes.a}}' })).toEqual(
      {
        missing: ['Attributes.a', 'Attributes.b'],
      },
    );
  });

  test('an attribute that is empty or cleared is none', () => {
    expect(text('{{Attributes.cleared}}{{Attributes.empty}}{{Location}}')).toEqual({
      missing: ['Attributes.cleared', 'Attributes.empty', 'Location'],
    });
    expect(text('{{Attributes.empty}}', {}, { 'Attributes.empty': 'default' })).toBe('default');
  });

  test('an empty default or substitution is a decision', () => {
    expect(text('[{{Attributes.a}}]', {}, { 'Attributes.a': '' })).toBe('[]');
    expect(text('[{{a}}]', { a: [''] })).toBe('[]');
  });

  test('a guard is one as well', () => {
    const source =
      '{{#if Attributes.a}}{{Attributes.a}}{{else}}-{{/if}}{{#with Attributes.b}}{{this}}{{/with}}{{#each Attributes.c}}{{this}}{{/each}}{{#eq (lower Attributes.d) "x"}}x{{/eq}}{{yesno Attributes.e}}{{and Attributes.a Attributes.b yes="" no=""}}';
    expect(text(source)).toBe('-maybe');
  });
});

describe('helpers of the documentation', () => {
  test.each([
    ['{{#eq Attributes.colors.[0] "red"}}red{{else}}not{{/eq}}', 'red'],
    ['{{eq Location.City "Seattle" yes="y" no="n"}} {{neq 1 2}} {{not (eq 1 1)}}', 'n true false'],
    ['{{#and (eq Location.City "Los Angeles") (eq Location.Country "US")}}both{{/and}}', 'both'],
    ['{{#or (eq Location.City "Seattle") (eq Location.City "Los Angeles")}}west{{else}}-{{/or}}', 'west'],
    [
      '{{#lt User.UserAttributes.Age.[0] "18"}}young{{else}}old{{/lt}}{{gte User.UserAttributes.Age 9}}',
      'youngtrue',
    ],
    ['{{gt 10 9}}{{lte "b" "a"}}{{gt Attributes.none 1}}', 'truefalsefalse'],
    ['{{abbreviate "Alejandro" 6}}', 'Ale...'],
    [
      '{{capitalize Attributes.description.[0]}}|{{capitalizeFirst Attributes.description}}',
      'My First Post|My first post',
    ],
    ['[{{center Location.City size=19}}]', '[    Los Angeles    ]'],
    ['[{{center "ab" size=5 pad="*"}}]', '[*ab**]'],
    ['{{cut Location.City "e"}} {{cut Location.City}}', 'Los Angls LosAngeles'],
    [
      '{{inflect 3 apple apples includeCount=false}} {{inflect 1 "apple" "apples" includeCount=true}}',
      'apples 1 apple',
    ],
    [
      '{{join Attributes.colors ", "}} {{join Attributes.colors "-" prefix="<" suffix=">"}} {{join "a" "b" "+"}}',
      'red, green, blue <red-green-blue> a+b',
    ],
    [
      '[{{ljust Location.City 15}}][{{rjust Location.City size=15 pad="."}}]',
      '[Los Angeles    ][....Los Angeles]',
    ],
    ['{{lower "SANTOS"}} {{upper "Roe"}} {{capitalizeFirst (lower "JANE")}}', 'santos ROE Jane'],
    [
      '{{ordinalize 1}} {{ordinalize "22"}} {{ordinalize 13}} {{ordinalize 111}} {{ordinalize 103}}',
      '1st 22nd 13th 111th 103rd',
    ],
    ['{{replace Location.City " " "_"}} {{replace "a.b" "." ""}}', 'Los_Angeles ab'],
    ['{{slugify " Los Angeles, CA 2 "}}', 'los-angeles-ca-2'],
    ['{{stripTags "<h1>Art</h1> < x"}}', 'Art < x'],
    ['{{substring Location.City 4 9}}{{substring "abc" 1}}{{substring "abc" 5}}', 'Angelbc'],
    ['{{yesno "true"}} {{yesno "false" no="nope"}} {{yesno Attributes.none}}', 'yes nope maybe'],
    [
      '{{add 5 2.3}} {{subtract 5 2.3}} {{multiply 5 2.3}} {{divide 5 2.3}} {{modulo 7 2}}',
      '7.3 2.7 11.5 2.17391304 1',
    ],
    [
      '{{round 19.21}} {{ceiling 5.23}} {{floor 5.23}} {{round -0.2}} {{add Metrics.price 0.1}}',
      '19 6 5 0 2.4',
    ],
    ['{{encode64 "Hello World"}} {{decode64 "SGVsbG8gd29ybGQ="}}', 'SGVsbG8gV29ybGQ= Hello world'],
    ['{{md5 "Hello World"}}', 'b10a8db164e0754105b7a99be72e3fe5'],
    ['{{sha256 "Hello World"}}', 'a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e'],
    ['{{substring (sha512 "Hello World") 0 16}}', '2c74fd17edafd80e'],
    ['{{log "x"}}{{unless "" yes="empty"}}', 'empty'],
  ])('%s', (source, expected) => {
    expect(text(source)).toBe(expected);
  });

  test('uuid makes a new one each time', () => {
    const [first, second] = String(text('{{uuid}} {{uuid}}')).split(' ');
    expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(second).not.toBe(first);
  });

  test.each([
    [
      '{{dateFormat User.UserAttributes.Start inputFormat="MM/dd/yyyy" outputFormat="full" tz=America/Los_Angeles}}',
      'Saturday, September 19, 2020',
    ],
    [
      '{{dateFormat "2020-09-19" "long"}}|{{dateFormat "2020-09-19"}}|{{dateFormat "2020-09-19" format="short"}}',
      'September 19, 2020|Sep 19, 2020|9/19/20',
    ],
    [
      '{{dateFormat CreationDate outputFormat="yyyy-MM-dd\'T\'HH:mm:ss.SSSXXX" tz="Asia/Kolkata"}}',
      '2019-06-30T17:15:25.220+05:30',
    ],
    [
      '{{dateFormat "20260301 0905pm" inputFormat="yyyyMMdd hhmma" outputFormat="EEE d MMM yy, H:mm zzz" tz=Europe/Berlin}}',
      'Sun 1 Mar 26, 21:05 GMT+1',
    ],
    ['{{dateFormat "1 Feb 49" inputFormat="d MMM yy" outputFormat="yyyy D u"}}', '1949 32 2'],
    ['{{dateFormat "1592179200000" "h \'o\'\'clock\' a, Z X"}}', "12 o'clock AM, +0000 Z"],
    ['{{dateFormat "2026-03-29T01:30" outputFormat="HH:mm Z" tz=Europe/London}}', '02:30 +0100'],
    [
      '{{now}} {{now "yyyy/MM/dd HH:mm" tz=America/New_York}} {{now "z" tz="GMT+2"}}',
      'Jul 4, 2026 2026/07/04 17:05 GMT+2',
    ],
    ['{{now "HH" tz=Nowhere/Land}} {{now "HH" tz=Demographic.Timezone}}', '21 21'],
  ])('%s', (source, expected) => {
    expect(text(source)).toBe(expected);
  });

  test.each([
    ['{{dateFormat "yesterday"}}', 'body: dateFormat: "yesterday" is not a date in ISO 8601'],
    ['{{dateFormat "x" inputFormat="MM"}}', 'body: dateFormat: "x" is not a date of the form "MM"'],
    ['{{now "ww"}}', 'body: date pattern "ww": letter w is not supported'],
    ['{{add "a" 1}}', 'body: add: "a" is not a number'],
    ['{{divide 1 0}}', 'body: divide: the result is not a number'],
    ['{{abbreviate "a" "b"}}', 'body: abbreviate: the length must be a whole number of 0 or more'],
    ['{{ljust "a"}}', 'body: ljust: size must be a whole number of 0 or more'],
  ])('%s is an error of the message', (source, error) => {
    expect(text(source)).toEqual({ error });
  });
});

describe('parts', () => {
  test('HTML is escaped, all others are not; three braces never escape', () => {
    const source = '{{Attributes.markup}}|{{{Attributes.markup}}}';
    const result = run({ html: source, text: source, subject: source });
    const raw = '<b>"bold" & \'new\'</b>';
    const escaped = '&lt;b&gt;&quot;bold&quot; &amp; &#x27;new&#x27;&lt;/b&gt;';
    expect(result).toEqual({
      parts: { html: `${escaped}|${raw}`, text: `${raw}|${raw}`, subject: `${raw}|${raw}` },
    });
  });

  test('no line break gets into a subject or header', () => {
    const substitutions = { x: ['a\r\nBcc: everyone@example.com\u2028b\u0000'] };
    expect(run({ subject: 'S {{x}}', 'header:0': '<{{x}}>', body: '{{x}}' }, substitutions)).toEqual({
      parts: {
        subject: 'S a Bcc: everyone@example.com b ',
        'header:0': '<a Bcc: everyone@example.com b >',
        body: 'a\r\nBcc: everyone@example.com\u2028b',
      },
    });
  });

  test('nothing is made that cannot be stored: NUL, halves of characters', () => {
    expect(text('{{decode64 "YQBi"}}{{substring "😀" 0 1}}')).toBe('ab\uFFFD');
  });

  test('a text part is made of the HTML when there is none', () => {
    const result = run({
      html: '<h1>Hi {{User.UserId}}</h1><p>Look <a href="https://x.test/?u={{User.UserId}}">here</a></p>',
    });
    expect('parts' in result && result.parts.text).toBe('Hi u1\n\nLook here [https://x.test/?u=u1]');
  });
});

describe('syntax errors name part and line', () => {
  test.each([
    ['a\n\n{{#if x}}\nb', 'html: line 3: the block "if" is not closed'],
    ['{{#if x}}\n{{/each}}', "html: line 1: if doesn't match each"],
    ['\n{{nope x}}', 'html: line 2: there is no helper "nope"'],
    ['{{#nope x}}{{/nope}}', 'html: line 1: there is no helper "nope"'],
    ['{{upper}} {{upper a b}}', 'html: line 1: upper takes 1 parameter, not 2'],
    ['{{> footer}}', 'html: line 1: there is no partial "footer"'],
    ['{{#* evil "x"}}{{/evil}}', 'html: line 1: there is no decorator "evil"'],
    ['{{* evil}}', 'html: line 1: there is no decorator "evil"'],
    ['{{#*inline x}}{{/inline}}', 'html: line 1: inline takes the name of the partial in quotes'],
    ['{{helperMissing "a"}}', 'html: line 1: there is no helper "helperMissing"'],
    [
      '{{#blockHelperMissing a}}{{/blockHelperMissing}}',
      'html: line 1: there is no helper "blockHelperMissing"',
    ],
    ['{{this.constructor "x"}}', 'html: line 1: there is no helper "this.constructor"'],
    ['{{each x}}', 'html: line 1: each is a block: {{#each …}}'],
    ['{{#upper x}}{{/upper}}', 'html: line 1: upper has no block form'],
  ])('%j', (source, syntax) => {
    expect(run({ subject: 'fine', html: source })).toEqual({ syntax });
  });

  test('an unfinished expression', () => {
    expect(run({ body: 'Hi\n{{name' })).toEqual({ syntax: expect.stringMatching(/^body: line 2: /) });
    expect(run({ body: 'Hi {{name}' })).toEqual({ syntax: expect.stringMatching(/^body: line 1: /) });
    expect(run({ body: '}} { {x} {{/if}}' })).toEqual({ syntax: expect.stringMatching(/^body: line 1: /) });
  });
});

describe('attacks', () => {
  const nested = (open: string, close: string, count: number) => open.repeat(count) + close.repeat(count);

  test.each([
    ['blocks in blocks', nested('{{#if a}}', '{{/if}}', 20_000), 'blocks are nested deeper than 64'],
    ['inverted blocks', nested('{{^a}}', '{{/a}}', 20_000), 'blocks are nested deeper than 64'],
    ['else chains', `{{#if a}}${'{{else if b}}'.repeat(5_000)}{{/if}}`, 'blocks are nested deeper than 64'],
    ['raw blocks', nested('{{{{a}}}}', '{{{{/a}}}}', 5_000), 'blocks are nested deeper than 64'],
    ['partial blocks', nested('{{#> a}}', '{{/a}}', 5_000), 'blocks are nested deeper than 64'],
    ['parentheses', `{{upper ${nested('(upper ', ')', 5_000)}}}`, 'parentheses are nested deeper than 64'],
    ['expressions', '{{a}}'.repeat(20_000), 'more than 10000 expressions in one part'],
  ])('too many %s', (_name, source, problem) => {
    expect(run({ body: source })).toEqual({ syntax: expect.stringContaining(problem) });
  });

  test.each([
    [
      'a partial that doubles itself',
      '{{#*inline "p"}}{{> p}}{{> p}}{{/inline}}{{> p}}',
      'partials are nested deeper than 50',
    ],
    [
      'partials that double one another',
      `${Array.from({ length: 30 }, (_, i) => `{{#*inline "p${i}"}}xxxxxxxxxx{{> p${i + 1}}}{{> p${i + 1}}}{{/inline}}`).join('')}{{#*inline "p30"}}x{{/inline}}{{> p0}}`,
      'more than 20000 steps',
    ],
    [
      'a partial block that calls itself',
      '{{#*inline "l"}}{{#> l}}{{> @partial-block}}{{/l}}{{/inline}}{{#> l}}x{{/l}}',
      'partials are nested deeper than 50',
    ],
    ['each in each', `${'{{#each big}}'.repeat(8)}x${'{{/each}}'.repeat(8)}`, 'more than 20000 steps'],
    ['a huge ljust', '{{ljust "a" 999999999}}', 'ljust: size 999999999 is too large'],
    ['a huge center', '{{center "a" size=1000000000}}', 'center: size 1000000000 is too large'],
    [
      'a doubling replace',
      `{{#with (${'replace ('.repeat(20)}ljust "a" 90 pad="a"${') "a" "aa"'.repeat(20)})}}{{/with}}`,
      'replace: the result is longer than 100000 characters',
    ],
    ['a long join', '{{join big (ljust "," 9000)}}', 'join: the result is longer than 100000 characters'],
    ['much output', '{{#each big}}{{ljust "a" 9000}}{{/each}}', 'more than 100000 characters'],
    [
      'costly hashing',
      '{{#each big}}{{#each big}}{{md5 (ljust "a" 90000)}}{{/each}}{{/each}}',
      'more than 20000 steps',
    ],
    ['a partial that does not exist', '{{> (lower "NOPE")}}', 'there is no partial "nope" here'],
  ])('%s', (_name, source, problem) => {
    const big = Array.from({ length: 15 }, (_, i) => `v${i}`);
    expect(text(source, { big })).toEqual({ error: expect.stringContaining(problem) });
  });

  test('a list is gone through for 15 items at most', () => {
    expect(
      text('{{#each l}}{{this}}{{#if @last}}.{{/if}}{{/each}}', { l: Array.from({ length: 40 }, () => 'x') }),
    ).toBe(`${'x'.repeat(15)}.`);
  });

  test('texts that make slow regular expressions slow', () => {
    const hostile = '<'.repeat(90_000);
    expect(text('{{stripTags (ljust "<" 90000 pad="<")}}')).toBe(hostile);
    expect(text('{{replace (ljust "a" 50000 pad="a") "a+$" "(.*)*"}}')).toBe('a'.repeat(50_000));
    expect(text('{{slugify (ljust " " 50000)}}')).toBe('');
  });

  test('data are never a template', () => {
    expect(text('{{x}}', { x: ['{{User.UserId}}'] })).toBe('{{User.UserId}}');
    expect(text('{{> (lookup Attributes "description")}}')).toEqual({
      error: 'body: there is no partial "my first post" here',
    });
  });
});
