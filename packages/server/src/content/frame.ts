import type { Run } from './run.ts';
import type { Value } from './values.ts';

/** What `@index`, `@key`, `@first` and `@last` say. */
export interface Loop {
  index: number;
  key: string | number;
  first: boolean;
  last: boolean;
  outer: Loop | undefined;
}

/** Inline partials that can be called from here. */
export interface PartialScope {
  partials: ReadonlyMap<string, Program>;
  outer: PartialScope | undefined;
}

/** What `{{> @partial-block}}` writes. */
export interface PartialBlock {
  program: Program;
  partials: PartialScope | undefined;
  outer: PartialBlock | undefined;
}

/** Values of `as |item index|`. */
export interface BlockParams {
  values: readonly Value[];
  outer: BlockParams | undefined;
}

/** Where in the person's data a piece of the template stands. */
export interface Frame {
  readonly run: Run;
  /** What `this` is; at the root (no parent) the variables themselves. */
  readonly context: Value;
  readonly parent: Frame | undefined;
  /** The context only adds names to that of the parent (`{{> partial name=value}}`). */
  readonly adds: boolean;
  readonly loop: Loop | undefined;
  readonly partials: PartialScope | undefined;
  readonly block: PartialBlock | undefined;
  readonly params: BlockParams | undefined;
}

export type Expression = (frame: Frame) => Value;
export type Program = (frame: Frame) => void;

export function rootFrame(run: Run): Frame {
  return {
    run,
    context: undefined,
    parent: undefined,
    adds: false,
    loop: undefined,
    partials: undefined,
    block: undefined,
    params: undefined,
  };
}

/** A frame within `frame` whose `this` is `context`. */
export function childFrame(
  frame: Frame,
  context: Value,
  loop: Loop | undefined = frame.loop,
  params: BlockParams | undefined = frame.params,
): Frame {
  return {
    run: frame.run,
    context,
    parent: frame,
    adds: false,
    loop,
    partials: frame.partials,
    block: frame.block,
    params,
  };
}
