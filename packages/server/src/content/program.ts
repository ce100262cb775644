import {
  type Compiled,
  compileCondition,
  compileExpression,
  compileMustache,
  itemsOf,
  type Place,
  simpleName,
  VariableList,
} from './expressions.ts';
import { childFrame, type Frame, type PartialScope, type Program, rootFrame } from './frame.ts';
import { conditions, valueHelpers } from './helpers.ts';
import type { Run } from './run.ts';
import { parseTemplate, syntaxError } from './syntax.ts';
import { Absent, isEmpty, RenderError, textOf, type Value } from './values.ts';

// Templates are read by Handlebars' own parser and run by these closures instead of by the code that Handlebars
// would generate: no template text becomes code, every statement counts against a budget, and names reach nothing
// but the person's data. `program.test.ts` compares the two over a corpus.

/** Pinpoint goes through this many items of a list at most. */
const maxItems = 15;

/** One text of a template (subject, HTML …), ready to be run for any number of people. */
export interface CompiledText {
  render(run: Run): void;
  /** The fixed pieces, by the numbers that `Output.shape` names. */
  pieces: readonly string[];
}

/** Compiles one text; its variables are added to `variables`. Throws TemplateSyntaxError. */
export function compileText(source: string, variables: VariableList): CompiledText {
  const compiler = new TextCompiler();
  const main = compiler.program(parseTemplate(source), { variables, blockParams: [], atRoot: true });
  compiler.checkPartials();
  const program = withPartials(main);
  return { render: (run) => program(rootFrame(run)), pieces: compiler.pieces };
}

export { VariableList };

interface Block {
  run: Program;
  /** Inline partials that are defined in it; they can be called anywhere in it, also before. */
  partials: ReadonlyMap<string, Program> | undefined;
}

function withPartials(block: Block): Program {
  const { run, partials } = block;
  if (!partials) return run;
  return (frame) => run({ ...frame, partials: { partials, outer: frame.partials } });
}

const nothing: Program = () => {};

class TextCompiler {
  readonly pieces: string[] = [];
  private readonly defined = new Set<string>();
  private readonly called: { name: string; node: hbs.AST.Node }[] = [];

  program(tree: hbs.AST.Program, place: Place): Block {
    const statements: Program[] = [];
    const partials = new Map<string, Program>();
    for (const node of tree.body) {
      if (node.type === 'DecoratorBlock' || node.type === 'Decorator') {
        const [name, program] = this.inlinePartial(node as hbs.AST.DecoratorBlock, place);
        partials.set(name, program);
      } else {
        statements.push(this.statement(node, place));
      }
    }
    const [only] = statements;
    const run: Program =
      statements.length === 1
        ? only!
        : (frame) => {
            for (const statement of statements) statement(frame);
          };
    return { run, partials: partials.size > 0 ? partials : undefined };
  }

  /** Every partial that is called by name must be defined somewhere in the same text. */
  checkPartials(): void {
    for (const { name, node } of this.called) {
      if (!this.defined.has(name)) throw syntaxError(node, `there is no partial "${name}"`);
    }
  }

  private optionalProgram(tree: hbs.AST.Program | undefined, place: Place): Program {
    return tree ? withPartials(this.program(tree, place)) : nothing;
  }

  private statement(node: hbs.AST.Statement, place: Place): Program {
    switch (node.type) {
      case 'ContentStatement':
        return this.fixed((node as hbs.AST.ContentStatement).value);
      case 'MustacheStatement': {
        const mustache = node as hbs.AST.MustacheStatement;
        return print(compileMustache(place, mustache), mustache.escaped);
      }
      case 'BlockStatement':
        return this.block(node as hbs.AST.BlockStatement, place);
      case 'PartialStatement':
      case 'PartialBlockStatement':
        return this.partial(node as hbs.AST.PartialBlockStatement, place);
      case 'CommentStatement':
        return nothing;
      default:
        throw syntaxError(node, `${node.type} is not supported`);
    }
  }

  private fixed(text: string): Program {
    if (text === '') return nothing;
    const piece = this.pieces.push(text) - 1;
    return (frame) => frame.run.writeFixed(piece, text);
  }

  private block(node: hbs.AST.BlockStatement, place: Place): Program {
    const name = simpleName(node.path);
    const condition = name === undefined ? undefined : conditions.get(name);
    const blockParams = node.program?.blockParams ?? [];
    if (blockParams.length > 0 && name !== 'each' && name !== 'with') {
      throw syntaxError(node, 'only each and with have block parameters');
    }
    if (condition) {
      const holds = compileCondition(place, node, name!, condition, node.params, node.hash);
      const [yes, no] = [
        this.optionalProgram(node.program, place),
        this.optionalProgram(node.inverse, place),
      ];
      return (frame) => {
        frame.run.step(1);
        (holds(frame) ? yes : no)(frame);
      };
    }
    if (name !== undefined && valueHelpers.has(name)) throw syntaxError(node, `${name} has no block form`);
    const inner: Place = {
      ...place,
      atRoot: false,
      blockParams: blockParams.length > 0 ? [...place.blockParams, blockParams] : place.blockParams,
    };
    const body = this.optionalProgram(node.program, inner);
    const otherwise = this.optionalProgram(node.inverse, place);
    if (name === 'each' || name === 'with') {
      if (node.params.length !== 1) throw syntaxError(node, `${name} takes 1 parameter`);
      const { get } = compileExpression(place, node.params[0]!);
      return name === 'each'
        ? (frame) => each(frame, get(frame), body, otherwise, blockParams.length > 0)
        : (frame) => within(frame, get(frame), body, otherwise, blockParams.length > 0);
    }
    if (node.params.length > 0 || node.hash) {
      throw syntaxError(node, `there is no helper "${node.path.original}"`);
    }
    const { get } = compileExpression(place, node.path);
    return (frame) => section(frame, get(frame), body, otherwise);
  }

  private inlinePartial(node: hbs.AST.DecoratorBlock, place: Place): [string, Program] {
    const [name] = node.params;
    if ((node.type as string) !== 'DecoratorBlock' || node.path.original !== 'inline') {
      throw syntaxError(node, `there is no decorator "${node.path.original}"`);
    }
    if (name?.type !== 'StringLiteral' || node.params.length > 1) {
      throw syntaxError(node, 'inline takes the name of the partial in quotes');
    }
    const partial = (name as hbs.AST.StringLiteral).value;
    this.defined.add(partial);
    // Where it will be called is not known, so nothing around its definition counts.
    const inner: Place = { variables: place.variables, blockParams: [], atRoot: false };
    return [partial, this.optionalProgram(node.program, inner)];
  }

  private partial(node: hbs.AST.PartialBlockStatement, place: Place): Program {
    const call: PartialCall = {
      name: this.partialName(node, place),
      context: node.params[0] && compileExpression(place, node.params[0]),
      added: (node.hash?.pairs ?? []).map(({ key, value }) => [key, compileExpression(place, value)]),
      content: node.program ? this.program(node.program, { ...place, atRoot: false }) : undefined,
    };
    if (node.params.length > 1) throw syntaxError(node, 'a partial takes one context');
    const { indent } = node as unknown as hbs.AST.PartialStatement;
    if (!indent) return (frame) => callPartial(frame, call);
    return (frame) => {
      const text = frame.run.capture(() => callPartial(frame, call));
      frame.run.writeCaptured(indented(text, indent));
    };
  }

  private partialName(node: hbs.AST.PartialBlockStatement, place: Place): (frame: Frame) => string {
    if (node.name.type === 'SubExpression') {
      const { get } = compileExpression(place, node.name);
      return (frame) => textOf(get(frame)) ?? '';
    }
    // `{{> name}}`, `{{> "name"}}` and `{{> 12}}`.
    const name = String((node.name as hbs.AST.PathExpression).original);
    if (!node.program && name !== '@partial-block') this.called.push({ name, node });
    return () => name;
  }
}

/** A partial that stands alone on its line indents each of its lines, as in Handlebars. */
function indented(text: string, indent: string): string {
  const lines = text.split('\n');
  const last = lines.at(-1) === '' ? lines.pop() : undefined;
  const result = lines.map((line) => indent + line).join('\n');
  return last === undefined ? result : lines.length > 0 ? `${result}\n` : '';
}

function print({ get, name }: Compiled, escaped: boolean): Program {
  return (frame) => {
    const value = get(frame);
    let text = '';
    if (typeof value === 'string') text = value;
    else if (value instanceof Absent) frame.run.missing.add(value.variable);
    else {
      const printed = textOf(value);
      if (printed === undefined) frame.run.missing.add(name);
      else text = printed;
    }
    frame.run.writeValue(text, !escaped);
  };
}

function each(frame: Frame, value: Value, body: Program, otherwise: Program, named: boolean): void {
  const items = itemsOf(value);
  const count = Math.min(items.length, maxItems);
  if (count === 0) otherwise(frame);
  for (let index = 0; index < count; index += 1) {
    const [key, item] = items[index]!;
    frame.run.step(1);
    const loop = { index, key, first: index === 0, last: index === count - 1, outer: frame.loop };
    const params = named ? { values: [item, key], outer: frame.params } : frame.params;
    body(childFrame(frame, item, loop, params));
  }
}

function within(frame: Frame, value: Value, body: Program, otherwise: Program, named: boolean): void {
  frame.run.step(1);
  if (isEmpty(value) && value !== 0) {
    otherwise(frame);
    return;
  }
  const params = named ? { values: [value], outer: frame.params } : frame.params;
  body(childFrame(frame, value, frame.loop, params));
}

/** `{{#name}}…{{/name}}`: goes through a list, enters an object, or shows the block when the value is not empty. */
function section(frame: Frame, value: Value, body: Program, otherwise: Program): void {
  if (Array.isArray(value) && value.length > 0) {
    each(frame, value, body, otherwise, false);
  } else if (isEmpty(value)) {
    frame.run.step(1);
    otherwise(frame);
  } else if (value === true) {
    frame.run.step(1);
    body(frame);
  } else {
    within(frame, value, body, otherwise, false);
  }
}

interface PartialCall {
  name: (frame: Frame) => string;
  context: Compiled | undefined;
  added: [string, Compiled][];
  content: Block | undefined;
}

function findPartial(scope: PartialScope | undefined, name: string): Program | undefined {
  for (let at = scope; at; at = at.outer) {
    const found = at.partials.get(name);
    if (found) return found;
  }
  return undefined;
}

function callPartial(frame: Frame, call: PartialCall): void {
  const { run } = frame;
  run.step(1);
  const name = call.name(frame);
  let inner = frame;
  if (call.context) {
    const context = call.context.get(frame);
    inner = childFrame(inner, context instanceof Absent ? undefined : context);
  }
  if (call.added.length > 0) {
    const added = new Map(call.added.map(([key, { get }]) => [key, get(frame)]));
    inner = { ...childFrame(inner, added), adds: true };
  }
  let { partials, block } = frame;
  let program: Program | undefined;
  if (name === '@partial-block') {
    program = block?.program;
    ({ partials, outer: block } = block ?? { partials, outer: undefined });
  } else {
    const content = call.content;
    if (content?.partials) partials = { partials: content.partials, outer: partials };
    program = findPartial(partials, name) ?? content?.run;
    if (content) block = { program: content.run, partials, outer: frame.block };
  }
  if (!program) throw new RenderError(`there is no partial "${name}" here`);
  run.enter();
  program({ ...inner, partials, block });
  run.leave();
}
