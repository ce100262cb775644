import { formatDate, parseDate, parseIsoDate, readPattern } from './date-format.ts';
import type { HelperCall, ValueHelper } from './helpers.ts';
import { RenderError, single, textOf, type Value } from './values.ts';

function option(value: Value): string | undefined {
  const text = textOf(single(value));
  return text === '' ? undefined : text;
}

function dateFormat(args: readonly Value[], options: ReadonlyMap<string, Value>, call: HelperCall): string {
  const zone = option(options.get('tz')) ?? 'UTC';
  const text = textOf(single(args[0])) ?? '';
  if (text === '') return '';
  const input = option(options.get('inputFormat'));
  const at =
    input === undefined ? parseIsoDate(text, zone) : parseDate(text, readPattern(input), zone, call.now);
  if (at === undefined || Number.isNaN(at)) {
    throw new RenderError(
      `dateFormat: "${text.slice(0, 40)}" is not a date ${input === undefined ? 'in ISO 8601' : `of the form "${input}"`}`,
    );
  }
  const output =
    option(options.get('outputFormat')) ?? option(options.get('format')) ?? option(args[1]) ?? 'medium';
  return formatDate(at, readPattern(output), zone);
}

export const dateHelpers: ReadonlyMap<string, ValueHelper> = new Map<string, ValueHelper>([
  ['dateFormat', { params: [1, 2], needs: 'first', bareWords: { options: ['tz'] }, run: dateFormat }],
  [
    'now',
    {
      params: [0, 1],
      needs: 'none',
      bareWords: { options: ['tz'] },
      run: ([pattern], options, call) =>
        formatDate(
          call.now,
          readPattern(option(pattern) ?? option(options.get('format')) ?? 'medium'),
          option(options.get('tz')) ?? 'UTC',
        ),
    },
  ],
]);
