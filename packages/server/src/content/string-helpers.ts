import type { ValueHelper } from './helpers.ts';
import { listSeparator, RenderError, single, textOf, type Value } from './values.ts';

/** The text of a parameter; an object or nothing is an empty text. */
function text(value: Value): string {
  return textOf(value) ?? '';
}

/** A whole number of 0 or more, from a parameter or an option. */
function count(helper: string, name: string, value: Value): number {
  const number = Number(text(single(value)));
  if (value === undefined || !Number.isInteger(number) || number < 0) {
    throw new RenderError(`${helper}: ${name} must be a whole number of 0 or more`);
  }
  return number;
}

function onText(run: (value: string) => Value): ValueHelper {
  return { params: [1, 1], needs: 'first', run: ([value]) => run(text(value)) };
}

type Sides = 'left' | 'right' | 'both';

/** `center`, `ljust`, `rjust`: fill up to a size, given as second parameter or as `size=`. */
function padded(helper: string, sides: Sides): ValueHelper {
  return {
    params: [1, 2],
    needs: 'first',
    run: ([value, width], options, call) => {
      const size = count(helper, 'size', options.get('size') ?? width);
      if (size > call.maxChars) throw new RenderError(`${helper}: size ${size} is too large`);
      const fill = text(options.get('pad')) || ' ';
      const content = text(value);
      if (sides === 'left') return content.padEnd(size, fill);
      if (sides === 'right') return content.padStart(size, fill);
      const before = Math.max(0, size - content.length) >> 1;
      return content.padStart(content.length + before, fill).padEnd(size, fill);
    },
  };
}

function replaceAll(value: string, target: string, replacement: string, maxChars: number): string {
  if (target === '') return value;
  let found = 0;
  for (let at = value.indexOf(target); at !== -1; at = value.indexOf(target, at + target.length)) found += 1;
  if (value.length + found * (replacement.length - target.length) > maxChars) {
    throw new RenderError(`replace: the result is longer than ${maxChars} characters`);
  }
  return found === 0 ? value : value.split(target).join(replacement);
}

/** Removes `<…>`. By hand, since a regular expression would try every `<` to the end of the text. */
function stripTags(value: string): string {
  let result = '';
  let from = 0;
  for (;;) {
    const open = value.indexOf('<', from);
    const close = open === -1 ? -1 : value.indexOf('>', open);
    if (close === -1) return result + value.slice(from);
    result += value.slice(from, open);
    from = close + 1;
  }
}

function abbreviate(value: string, width: number): string {
  if (value.length <= width) return value;
  return width < 4 ? value.slice(0, width) : `${value.slice(0, width - 3)}...`;
}

function capitalizeWords(value: string): string {
  return value.replace(
    /(^|\s)(\S)/gu,
    (_match, before: string, first: string) => before + first.toUpperCase(),
  );
}

function capitalizeFirst(value: string): string {
  const first = value.codePointAt(0);
  if (first === undefined) return value;
  const letter = String.fromCodePoint(first);
  return letter.toUpperCase() + value.slice(letter.length);
}

function slugify(value: string): string {
  return value
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\s-]/gu, '')
    .replace(/\s+/g, '-');
}

function join(args: readonly Value[], options: ReadonlyMap<string, Value>, maxChars: number): string {
  const separator = args.length > 1 ? text(args.at(-1)) : listSeparator;
  const values = Array.isArray(args[0]) ? args[0] : args.length > 1 ? args.slice(0, -1) : args;
  const texts = values.map(text);
  const length = texts.reduce((sum, item) => sum + item.length + separator.length, 0);
  if (length > maxChars) throw new RenderError(`join: the result is longer than ${maxChars} characters`);
  return text(options.get('prefix')) + texts.join(separator) + text(options.get('suffix'));
}

function yesno(value: Value, options: ReadonlyMap<string, Value>): Value {
  const answer = textOf(single(value))?.trim().toLowerCase();
  if (answer === undefined || answer === '') return options.get('maybe') ?? 'maybe';
  const no = ['false', 'no', '0'].includes(answer);
  return no ? (options.get('no') ?? 'no') : (options.get('yes') ?? 'yes');
}

function inflect(args: readonly Value[], options: ReadonlyMap<string, Value>): string {
  const amount = text(single(args[0]));
  const word = text(Number(amount) === 1 ? args[1] : args[2]);
  return text(options.get('includeCount')) === 'true' ? `${amount} ${word}` : word;
}

export const stringHelpers: ReadonlyMap<string, ValueHelper> = new Map<string, ValueHelper>([
  [
    'abbreviate',
    {
      params: [2, 2],
      needs: 'first',
      run: ([value, width]) => abbreviate(text(value), count('abbreviate', 'the length', width)),
    },
  ],
  [
    'capitalize',
    {
      params: [1, 1],
      needs: 'first',
      run: ([value], options) =>
        capitalizeWords(text(options.get('fully')) === 'true' ? text(value).toLowerCase() : text(value)),
    },
  ],
  ['capitalizeFirst', onText(capitalizeFirst)],
  ['center', padded('center', 'both')],
  ['ljust', padded('ljust', 'left')],
  ['rjust', padded('rjust', 'right')],
  [
    'cut',
    {
      params: [1, 2],
      needs: 'first',
      run: ([value, part], _options, call) =>
        replaceAll(text(value), part === undefined ? ' ' : text(part), '', call.maxChars),
    },
  ],
  [
    'inflect',
    {
      params: [3, 3],
      needs: 'first',
      bareWords: { params: true },
      run: (args, options) => inflect(args, options),
    },
  ],
  [
    'join',
    { params: [1, 32], needs: 'first', run: (args, options, call) => join(args, options, call.maxChars) },
  ],
  // Kept for templates that have it; what a person's data are belongs into no log.
  ['log', { params: [0, 32], needs: 'none', run: () => '' }],
  ['lower', onText((value) => value.toLowerCase())],
  ['upper', onText((value) => value.toUpperCase())],
  [
    'replace',
    {
      params: [3, 3],
      needs: 'first',
      run: ([value, target, replacement], _options, call) =>
        replaceAll(text(value), text(target), text(replacement), call.maxChars),
    },
  ],
  ['slugify', onText(slugify)],
  ['stripTags', onText(stripTags)],
  [
    'substring',
    {
      params: [2, 3],
      needs: 'first',
      run: ([value, start, end]) => {
        const content = text(value);
        const last = end === undefined ? content.length : count('substring', 'the end', end);
        const first = count('substring', 'the start', start);
        return first < last ? content.slice(first, last) : '';
      },
    },
  ],
  ['yesno', { params: [1, 1], needs: 'none', run: ([value], options) => yesno(value, options) }],
]);
