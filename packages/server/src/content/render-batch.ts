import { type Variable, VariableList } from './expressions.ts';
import { TextMaker } from './html-text.ts';
import { type CompiledText, compileText } from './program.ts';
import { Budget, Output, type RenderLimits, Run } from './run.ts';
import { TemplateSyntaxError } from './syntax.ts';
import { RenderError, type Value } from './values.ts';

/**
 * The texts of a template by part: `html` is escaped; `subject`, `title` and `header:…` are kept on one line; all
 * others (`text`, `body`) are written as they are. When there is `html` and no `text`, the text is made from the HTML.
 */
export type Parts = Readonly<Record<string, string>>;

/** What became of one message. Variables are `missing` when they were printed and have no value at all. */
export type RenderResult = { parts: Record<string, string> } | { missing: string[] } | { error: string };

/** A render to look at: with its holes. */
export interface Preview {
  parts: Record<string, string>;
  missing: string[];
}

/** The first part that does not compile. */
export interface PartError {
  part: string;
  /** Begins with `line n: `. */
  message: string;
}

const maxMissing = 20;

/** A template, compiled. Lives in a render thread. */
export class CompiledTemplate {
  readonly variables: readonly Variable[];
  private readonly texts: { part: string; text: CompiledText }[] = [];
  private readonly textMaker: TextMaker | undefined;

  private constructor(parts: Parts) {
    const list = new VariableList();
    for (const [part, source] of Object.entries(parts)) {
      try {
        this.texts.push({ part, text: compileText(source, list) });
      } catch (error) {
        if (!(error instanceof TemplateSyntaxError)) throw error;
        throw new PartSyntaxError(part, error.message);
      }
    }
    this.variables = list.variables;
    const html = this.texts.find(({ part }) => part === 'html');
    const makesText = html !== undefined && !this.texts.some(({ part }) => part === 'text');
    if (makesText) this.textMaker = new TextMaker(html.text.pieces);
  }

  static compile(parts: Parts): CompiledTemplate | PartError {
    try {
      return new CompiledTemplate(parts);
    } catch (error) {
      if (error instanceof PartSyntaxError) return { part: error.part, message: error.message };
      throw error;
    }
  }

  /** Renders for one person, whose values are in the order of `variables`. */
  render(values: readonly Value[], now: number, limits: RenderLimits): RenderResult {
    const result = this.tryPreview(values, now, limits);
    if ('error' in result) return result;
    return result.missing.length > 0 ? { missing: result.missing } : { parts: result.parts };
  }

  tryPreview(values: readonly Value[], now: number, limits: RenderLimits): Preview | { error: string } {
    let current = '';
    try {
      const parts: Record<string, string> = {};
      const missing = new Set<string>();
      const budget = new Budget(limits);
      for (const { part, text } of this.texts) {
        current = part;
        const recording = part === 'html' && this.textMaker !== undefined;
        const output = new Output(part === 'html', recording);
        const run = new Run(values, now, budget, output);
        text.render(run);
        parts[part] = isOneLine(part) ? oneLine(output.text) : output.text;
        if (recording) {
          const shape = output.recording ? output.shape : undefined;
          parts.text = this.textMaker!.text(output.text, shape, output.values);
        }
        for (const name of run.missing) missing.add(name);
      }
      for (const part of Object.keys(parts)) parts[part] = storable(parts[part]!);
      return { parts, missing: [...missing].slice(0, maxMissing) };
    } catch (error) {
      if (error instanceof RenderError) return { error: `${current}: ${error.message}` };
      throw error;
    }
  }
}

class PartSyntaxError extends Error {
  readonly part: string;

  constructor(part: string, message: string) {
    super(message);
    this.part = part;
  }
}

function isOneLine(part: string): boolean {
  return part === 'subject' || part === 'title' || part.startsWith('header:');
}

/** Helpers can make what no mail and no database holds: NUL (`decode64`), half of a character (`substring`). */
function storable(text: string): string {
  return (text.includes('\u0000') ? text.replaceAll('\u0000', '') : text).toWellFormed();
}

/** A header must not be continued or ended by what a variable holds. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not get into a header.
  return text.replace(/[\u0000-\u0008\n\u000b\u000c\r\u000e-\u001f\u007f\u0085\u2028\u2029]+/g, ' ');
}
