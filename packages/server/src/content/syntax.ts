import Handlebars from 'handlebars';

/** A template text that does not compile. The message begins with `line n: `. */
export class TemplateSyntaxError extends Error {
  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.name = 'TemplateSyntaxError';
  }
}

/** Blocks within blocks, and parentheses within parentheses. */
export const maxNesting = 64;
/** Expressions (`{{…}}`) in one part. */
export const maxExpressions = 10_000;

export function syntaxError(node: hbs.AST.Node, problem: string): TemplateSyntaxError {
  return new TemplateSyntaxError(node.loc?.start.line ?? 1, problem);
}

/**
 * Reads a template text into Handlebars' syntax tree, with its rules for white space applied. Throws
 * TemplateSyntaxError. Handlebars' parser takes minutes for thousands of nested blocks, so nesting is bounded before.
 */
export function parseTemplate(source: string): hbs.AST.Program {
  const open = checkNesting(source);
  try {
    return Handlebars.parse(source);
  } catch (error) {
    throw readable(error, source, open);
  }
}

// An opening tag up to its first word: block (#, ^), end (/), else chain, or any other expression.
const tag = /\{\{+~?\s*(#|\^|\/|else\b)?[*>]?\s*([^\s}~]*)/g;

interface OpenBlock {
  index: number;
  name: string;
  /** The block and its chained `else if`, which nest in the tree as well. */
  depth: number;
}

/** Returns the blocks that are open at the end. */
function checkNesting(source: string): OpenBlock[] {
  let count = 0;
  const open: OpenBlock[] = [];
  let depth = 0;
  for (const match of source.matchAll(tag)) {
    count += 1;
    if (count > maxExpressions) {
      throw new TemplateSyntaxError(
        lineAt(source, match.index),
        `more than ${maxExpressions} expressions in one part`,
      );
    }
    const [, kind, word = ''] = match;
    if (kind === '/') {
      depth -= open.pop()?.depth ?? 0;
    } else if (kind === '#' || match[0].startsWith('{{{{') || (kind === '^' && word !== '')) {
      open.push({ index: match.index, name: word, depth: 1 });
      depth += 1;
    } else if (kind === 'else' && word !== '' && open.length > 0) {
      open.at(-1)!.depth += 1;
      depth += 1;
    }
    if (depth > maxNesting) {
      throw new TemplateSyntaxError(
        lineAt(source, match.index),
        `blocks are nested deeper than ${maxNesting}`,
      );
    }
  }
  checkParentheses(source);
  return open;
}

function checkParentheses(source: string): void {
  let depth = 0;
  let from = source.indexOf('{{');
  while (from !== -1) {
    const end = source.indexOf('}}', from);
    const until = end === -1 ? source.length : end;
    depth = 0;
    for (let index = from; index < until; index += 1) {
      const code = source.charCodeAt(index);
      if (code === 40) depth += 1;
      else if (code === 41) depth -= 1;
      if (depth > maxNesting) {
        throw new TemplateSyntaxError(
          lineAt(source, index),
          `parentheses are nested deeper than ${maxNesting}`,
        );
      }
    }
    from = end === -1 ? -1 : source.indexOf('{{', end);
  }
}

function lineAt(source: string, index: number): number {
  let line = 1;
  for (let at = source.indexOf('\n'); at !== -1 && at < index; at = source.indexOf('\n', at + 1)) line += 1;
  return line;
}

const tokenNames = new Map([
  ['EOF', 'the end of the text'],
  ['OPEN_ENDBLOCK', 'the end of a block ({{/…}})'],
  ['INVERSE', '{{else}}'],
  ['CLOSE', '}}'],
  ['CLOSE_UNESCAPED', '}}}'],
  ['CLOSE_SEXPR', ')'],
  ['OPEN', '{{'],
  ['INVALID', 'a character that does not belong there'],
]);

/** Handlebars' own messages name the tokens of its grammar; these say what an author sees. */
function readable(error: unknown, source: string, open: OpenBlock[]): TemplateSyntaxError {
  if (error instanceof RangeError) return new TemplateSyntaxError(1, 'nested too deeply');
  if (!(error instanceof Error)) throw error;
  const parse =
    /^(?:Parse|Lexical) error on line (\d+)[^\n]*\n(?<near>[^\n]*)\n(?<arrow>-*)\^(?:\nExpecting (?<expected>.*), got '(?<got>\w+)')?/.exec(
      error.message,
    );
  if (parse) {
    const { near = '', got = '', expected = '' } = parse.groups ?? {};
    const place = near === '' ? '' : ` near "${near}"`;
    const unclosed = open.at(-1);
    if (got === 'EOF' && expected.includes('OPEN_ENDBLOCK') && unclosed) {
      return new TemplateSyntaxError(
        lineAt(source, unclosed.index),
        `the block "${unclosed.name}" is not closed`,
      );
    }
    return new TemplateSyntaxError(
      Number(parse[1]),
      `${tokenNames.get(got) ?? 'text'} is not expected here${place}`,
    );
  }
  const located = /^(?<problem>.*) - (?<line>\d+):\d+$/s.exec(error.message);
  if (located?.groups) return new TemplateSyntaxError(Number(located.groups.line), located.groups.problem!);
  return new TemplateSyntaxError(1, error.message);
}
