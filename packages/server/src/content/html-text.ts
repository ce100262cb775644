import { compile } from 'html-to-text';
import { RenderError } from './values.ts';

const block = { leadingLineBreaks: 1, trailingLineBreaks: 1 };
const headings = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'];

// Nothing here depends on the length or the letters of a text (no wrapping, no upper case, no hidden links), so that a
// conversion with marks in place of values tells where the values go. Tables are taken as layout, which they are in mails.
const convert = compile({
  wordwrap: false,
  limits: { maxDepth: 200 },
  selectors: [
    ...headings.map((selector) => ({
      selector,
      format: 'heading',
      options: { leadingLineBreaks: 2, trailingLineBreaks: 2, uppercase: false },
    })),
    { selector: 'table', format: 'block', options: block },
    { selector: 'tr', format: 'block', options: block },
    { selector: 'td', format: 'block', options: block },
    { selector: 'th', format: 'block', options: block },
    { selector: 'img', format: 'skip' },
    { selector: 'a', format: 'anchor', options: { noAnchorUrl: true, hideLinkHrefIfSameAsText: false } },
  ],
});

/** The text part for a mail that has only HTML. */
export function textFromHtml(html: string): string {
  try {
    return convert(html);
  } catch (error) {
    if (error instanceof RangeError) {
      throw new RenderError('the HTML part is nested too deeply to make a text part of it');
    }
    throw error;
  }
}

// Private-use characters: the mark of value 12 is written <begin>12<end>.
const begin = '\uE000';
const end = '\uE001';
const marks = /\uE000(\d+)\uE001/g;

/** A text part with gaps: the text before each gap, and the number of the value in it. */
interface TextWithGaps {
  parts: readonly { before: string; value: number }[];
  after: string;
  /** Values that begin an address, where `#…` and `mailto:` have a meaning. */
  addresses: ReadonlySet<number>;
}

const maxShapes = 64;

/**
 * Makes text parts for the messages of one template. Converting HTML costs about a millisecond, so it is done once for
 * each way through the template (its *shape*: which fixed pieces, where values) with marks in place of the values;
 * after that a text part is a join. That gives the same text as converting the whole HTML when
 * (1) every tag is plain enough that the values cannot change where tags begin and end (`isPlainHtml`), and
 * (2) the values neither begin nor end with white space nor hold more than single spaces (`isPlainValue`).
 * Otherwise the HTML itself is converted. `html-text.test.ts` compares the two ways over random templates and values.
 */
export class TextMaker {
  private readonly pieces: readonly string[];
  /** Undefined for a shape that must be converted each time. */
  private readonly shapes = new Map<string, TextWithGaps | undefined>();

  constructor(pieces: readonly string[]) {
    this.pieces = pieces;
  }

  /** `shape` and `values` are undefined when what was written is not made of pieces and escaped values alone. */
  text(html: string, shape: string | undefined, values: readonly string[]): string {
    if (shape === undefined) return textFromHtml(html);
    let known = this.shapes.get(shape);
    if (known === undefined && !this.shapes.has(shape)) {
      if (this.shapes.size >= maxShapes) this.shapes.clear();
      known = this.prepare(shape);
      this.shapes.set(shape, known);
    }
    if (!known || !values.every((value, index) => isPlainValue(value, known.addresses.has(index)))) {
      return textFromHtml(html);
    }
    let result = '';
    for (const { before, value } of known.parts) result += before + values[value]!;
    return result + known.after;
  }

  private prepare(shape: string): TextWithGaps | undefined {
    let html = '';
    let count = 0;
    for (const item of shape.matchAll(/v|(\d+),/g)) {
      if (item[1] === undefined) {
        html += begin + count + end;
        count += 1;
      } else {
        const piece = this.pieces[Number(item[1])]!;
        if (piece.includes(begin) || piece.includes(end)) return undefined;
        html += piece;
      }
    }
    const addresses = new Set<number>();
    if (!isPlainHtml(html, addresses)) return undefined;
    const text = textFromHtml(html);
    const parts: { before: string; value: number }[] = [];
    let from = 0;
    for (const mark of text.matchAll(marks)) {
      parts.push({ before: text.slice(from, mark.index), value: Number(mark[1]) });
      from = mark.index + mark[0].length;
    }
    return { parts, after: text.slice(from), addresses };
  }
}

/** White space in the sense of html-to-text is joined and trimmed by it, so a value must not hold any but single spaces. */
function isPlainValue(value: string, beginsAddress: boolean): boolean {
  if (value === '' || value.startsWith(' ') || value.endsWith(' ')) return false;
  if (/ {2}|[\t\r\n\f\u200b\uE000\uE001]/.test(value)) return false;
  return !beginsAddress || /^https?:\/\//.test(value);
}

// A document of these tokens is read the same way by every HTML parser, whatever stands in the marks. A mark may be in
// running text, in a comment, or in an attribute with quotes; not in a tag's or attribute's name or a bare attribute.
const attribute = String.raw`\s+([a-zA-Z_:@][\w:.@-]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|[\w#%.:/?;,+-]+))?`;
const tokens = new RegExp(
  String.raw`([^<]+)|<([a-zA-Z][a-zA-Z0-9:-]*)((?:${attribute})*)\s*/?>|</[a-zA-Z][a-zA-Z0-9:-]*\s*>|<!--(?!-?>)((?:(?!--)[^])*)-->|<!(?:doctype|DOCTYPE)[\w\s"'/.:-]*>`,
  'y',
);
const attributes = new RegExp(attribute, 'g');
/** Elements whose content is not read as HTML. */
const rawElements =
  /^(?:script|style|textarea|title|xmp|iframe|noembed|noframes|plaintext|noscript|template|svg|math)$/i;

/** Can values, escaped and put in place of the marks, change nothing but the text around them? Collects `addresses`. */
export function isPlainHtml(html: string, addresses: Set<number>): boolean {
  tokens.lastIndex = 0;
  while (tokens.lastIndex < html.length) {
    const from = tokens.lastIndex;
    const match = tokens.exec(html);
    if (!match) return false;
    const [, text, name, attributeText] = match;
    if (text !== undefined) {
      // `&` or `&am` before a value could make an entity with it.
      if (/&[#a-zA-Z0-9]*\uE000/.test(text)) return false;
    } else if (name !== undefined) {
      if (!plainAttributes(name.toLowerCase(), attributeText ?? '', addresses)) return false;
      if (rawElements.test(name) && !skipRawElement(html, name)) return false;
    } else if (match[0].startsWith('<!--') && /\uE001-?-?!?>/.test(match[0])) {
      return false;
    }
    if (tokens.lastIndex === from) return false;
  }
  return true;
}

function plainAttributes(element: string, text: string, addresses: Set<number>): boolean {
  for (const [, name = '', double, single] of text.matchAll(attributes)) {
    const value = double ?? single;
    if (!value?.includes(begin)) continue;
    if (/&[#a-zA-Z0-9]*\uE000/.test(value)) return false;
    const lower = name.toLowerCase();
    if (element === 'ol' && (lower === 'start' || lower === 'type')) return false;
    const first = /^\uE000(\d+)\uE001/.exec(value);
    if (lower === 'href' && first) addresses.add(Number(first[1]));
    else if (lower === 'href' && /^\s*m?a?i?l?t?o?:?\uE000/.test(value) && value.startsWith('m'))
      return false;
  }
  return true;
}

/** Goes on behind the end of a style or the like; only without a value in it, and only up to its own end tag. */
function skipRawElement(html: string, name: string): boolean {
  const rest = html.slice(tokens.lastIndex);
  const close = new RegExp(`</${name}\\s*>`, 'i').exec(rest);
  if (!close || rest.slice(0, close.index).includes(begin)) return false;
  if (rest.slice(0, close.index).includes('<')) return false;
  tokens.lastIndex += close.index + close[0].length;
  return true;
}
