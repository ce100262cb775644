import { RenderError, type Value } from './values.ts';

/** Budgets of one render of one person's message. */
export interface RenderLimits {
  /** Characters of all parts together, and of any text on the way to them. */
  maxChars: number;
  /** Statements and helper calls; a helper call counts more when it handles long texts. */
  maxSteps: number;
}

/** Partials within partials. */
const maxDepth = 50;

/** Where a part is written, and in which order which fixed pieces and which values were written. */
export class Output {
  text = '';
  readonly escapes: boolean;
  /** Off when nobody needs it, and as soon as something was written that is neither a fixed piece nor an escaped value. */
  recording: boolean;
  /** Numbers of the fixed pieces, `v` for each value. */
  shape = '';
  readonly values: string[] = [];

  constructor(escapes: boolean, recording: boolean) {
    this.escapes = escapes;
    this.recording = recording;
  }
}

/** What one message has left of its limits; all its parts draw on it. */
export class Budget {
  readonly limits: RenderLimits;
  private charsLeft: number;
  private stepsLeft: number;

  constructor(limits: RenderLimits) {
    this.limits = limits;
    this.charsLeft = limits.maxChars;
    this.stepsLeft = limits.maxSteps;
  }

  step(cost: number): void {
    this.stepsLeft -= cost;
    if (this.stepsLeft < 0) throw new RenderError(`more than ${this.limits.maxSteps} steps`);
  }

  write(chars: number): void {
    this.charsLeft -= chars;
    if (this.charsLeft < 0) throw new RenderError(`more than ${this.limits.maxChars} characters`);
    this.step(1);
  }
}

/** The state of one render of one text. */
export class Run {
  /** Values of the template's variables, in their order. */
  readonly slots: readonly Value[];
  /** Milliseconds since the epoch, for `now`. */
  readonly now: number;
  /** Variables that were printed without a value. */
  readonly missing = new Set<string>();
  out: Output;
  private readonly budget: Budget;
  private depth = 0;

  constructor(slots: readonly Value[], now: number, budget: Budget, out: Output) {
    this.slots = slots;
    this.now = now;
    this.budget = budget;
    this.out = out;
  }

  get maxChars(): number {
    return this.budget.limits.maxChars;
  }

  step(cost: number): void {
    this.budget.step(cost);
  }

  /** A fixed piece of the template. */
  writeFixed(piece: number, text: string): void {
    this.budget.write(text.length);
    const out = this.out;
    out.text += text;
    if (out.recording) out.shape += `${piece},`;
  }

  /** A value; `raw` leaves it as it is also where values are escaped. */
  writeValue(text: string, raw: boolean): void {
    this.budget.write(text.length);
    const out = this.out;
    if (raw || !out.escapes) {
      out.text += text;
      out.recording &&= !out.escapes;
    } else {
      const escaped = escapeHtml(text);
      if (escaped.length !== text.length) this.budget.write(escaped.length - text.length);
      out.text += escaped;
    }
    if (out.recording) {
      out.shape += 'v';
      out.values.push(text);
    }
  }

  /** Runs `work` with an output of its own and returns what it wrote. */
  capture(work: () => void): string {
    const outer = this.out;
    outer.recording = false;
    this.out = new Output(outer.escapes, false);
    try {
      work();
      return this.out.text;
    } finally {
      this.out = outer;
    }
  }

  /** Writes text that was captured before, so that is already escaped. */
  writeCaptured(text: string): void {
    this.budget.write(text.length);
    this.out.text += text;
  }

  enter(): void {
    this.depth += 1;
    if (this.depth > maxDepth) throw new RenderError(`partials are nested deeper than ${maxDepth}`);
  }

  leave(): void {
    this.depth -= 1;
  }
}

const needsEscape = /[&<>"'`=]/;
const escapes = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#x27;'],
  ['`', '&#x60;'],
  ['=', '&#x3D;'],
]);

/** Escapes as Handlebars does. */
export function escapeHtml(text: string): string {
  if (!needsEscape.test(text)) return text;
  return text.replace(/[&<>"'`=]/g, (character) => escapes.get(character)!);
}
