import type { Expression, Frame } from './frame.ts';
import { type Condition, conditions, type ValueHelper, valueHelpers } from './helpers.ts';
import { syntaxError } from './syntax.ts';
import { Absent, follow, indexOf, isEmpty, single, textOf, type Value } from './values.ts';

/** A variable of a template, with the names under which a substitution may give its value. */
export interface Variable {
  /** `['User', 'UserAttributes', 'FirstName', '0']`; empty for the whole person. */
  segments: readonly string[];
  /** `User.UserAttributes.FirstName.0` and, when the last segment is an index, also the name without it. */
  name: string;
  baseName: string | undefined;
}

/** Collects the variables of all parts of a template. */
export class VariableList {
  readonly variables: Variable[] = [];
  private readonly numbers = new Map<string, number>();

  /** The number of the slot in which the value of this variable arrives. */
  slot(segments: readonly string[]): number {
    const key = JSON.stringify(segments);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const slot = this.variables.length;
    const indexed = segments.length > 1 && indexOf(segments.at(-1)!) !== -1;
    this.variables.push({
      segments,
      name: segments.join('.'),
      baseName: indexed ? segments.slice(0, -1).join('.') : undefined,
    });
    this.numbers.set(key, slot);
    return slot;
  }
}

/** What the compiler knows about the place that it compiles. */
export interface Place {
  variables: VariableList;
  /** Names of `as |…|` around here, innermost last. */
  blockParams: readonly (readonly string[])[];
  /** Is `this` certainly the person, since no `each`, `with` or partial is around? */
  atRoot: boolean;
}

/** An expression, and how a report calls it when it has no value. */
export interface Compiled {
  get: Expression;
  name: string;
  /** The text itself, when the expression is a name. */
  word: string | undefined;
}

export function compileExpression(place: Place, node: hbs.AST.Expression): Compiled {
  switch (node.type) {
    case 'PathExpression':
      return compilePath(place, node as hbs.AST.PathExpression);
    case 'SubExpression': {
      const call = node as hbs.AST.SubExpression;
      return compileCall(place, call, call.path, call.params, call.hash);
    }
    case 'StringLiteral':
    case 'NumberLiteral':
    case 'BooleanLiteral':
      return constant((node as hbs.AST.StringLiteral).value);
    default:
      return constant(undefined);
  }
}

function constant(value: Value): Compiled {
  return { get: () => value, name: String(value), word: undefined };
}

/** Is this `this.x`, `./x` or `../x`: not to be looked for anywhere else? */
function isScoped(path: hbs.AST.PathExpression): boolean {
  return /^\.|^this\b/.test(path.original);
}

/** The name of a helper or partial that an expression calls; undefined for `a.b`, `../a`, `@a`. */
export function simpleName(path: hbs.AST.PathExpression): string | undefined {
  const simple = path.parts.length === 1 && !path.data && path.depth === 0 && !isScoped(path);
  return simple ? path.parts[0] : undefined;
}

function displayName(segments: readonly string[], original: string): string {
  if (segments.length === 0) return original;
  const indexed = segments.length > 1 && indexOf(segments.at(-1)!) !== -1;
  return (indexed ? segments.slice(0, -1) : segments).join('.');
}

export function compilePath(place: Place, path: hbs.AST.PathExpression): Compiled {
  const { parts, depth, original } = path;
  const named = { name: displayName(parts, original), word: original };
  if (path.data) return { ...named, name: original, get: compileData(place, path) };
  const scoped = isScoped(path);
  const parameter = scoped || depth > 0 ? undefined : compileBlockParam(place, parts);
  if (parameter) return { ...named, get: parameter };
  const slot = place.variables.slot(parts);
  if (place.atRoot) {
    return { ...named, get: depth === 0 ? (frame) => frame.run.slots[slot] : () => undefined };
  }
  return { ...named, get: (frame) => find(frame, slot, parts, depth, scoped) };
}

/** As in Handlebars.java a name that is not found here is looked for further out, up to the person. */
function find(from: Frame, slot: number, parts: readonly string[], depth: number, scoped: boolean): Value {
  let frame: Frame | undefined = from;
  for (let up = depth; up > 0; up -= 1) frame = frame?.parent;
  while (frame) {
    if (!frame.parent) return frame.run.slots[slot];
    if (parts.length > 0 || !frame.adds) {
      const found = follow(frame.context, parts);
      if (found !== undefined || (scoped && !frame.adds) || parts.length === 0) return found;
    }
    frame = frame.parent;
  }
  return undefined;
}

function compileBlockParam(place: Place, parts: readonly string[]): Expression | undefined {
  const rest = parts.slice(1);
  for (let up = 0; up < place.blockParams.length; up += 1) {
    const position = place.blockParams[place.blockParams.length - 1 - up]!.indexOf(parts[0]!);
    if (position === -1) continue;
    return (frame) => {
      let params = frame.params;
      for (let left = up; left > 0; left -= 1) params = params?.outer;
      return follow(params?.values[position], rest);
    };
  }
  return undefined;
}

function compileData(place: Place, path: hbs.AST.PathExpression): Expression {
  const [name, ...rest] = path.parts;
  if (name === 'root') {
    const slot = place.variables.slot(rest);
    return (frame) => frame.run.slots[slot];
  }
  const { depth } = path;
  return (frame) => {
    let loop = frame.loop;
    for (let up = depth; up > 0; up -= 1) loop = loop?.outer;
    if (!loop) return undefined;
    if (name === 'index') return loop.index;
    if (name === 'key') return loop.key;
    if (name === 'first') return loop.first;
    return name === 'last' ? loop.last : undefined;
  };
}

/** A mustache without parameters: a helper that needs none (`now`, `uuid`), or a variable. */
export function compileMustache(place: Place, node: hbs.AST.MustacheStatement): Compiled {
  const path = asPath(node.path);
  const name = simpleName(path);
  const helper = name === undefined ? undefined : valueHelpers.get(name);
  const isCall = node.params.length > 0 || node.hash !== undefined || helper?.params[0] === 0;
  return isCall ? compileCall(place, node, path, node.params, node.hash) : compilePath(place, path);
}

/** `{{"a name"}}` and `{{12}}` are variables of that name, as in Handlebars. */
function asPath(path: hbs.AST.PathExpression | hbs.AST.Literal): hbs.AST.PathExpression {
  if (path.type === 'PathExpression') return path as hbs.AST.PathExpression;
  const name = String((path as hbs.AST.StringLiteral).original);
  return { ...path, type: 'PathExpression', data: false, depth: 0, parts: [name], original: name };
}

export function compileCall(
  place: Place,
  node: hbs.AST.Node,
  path: hbs.AST.PathExpression,
  params: readonly hbs.AST.Expression[],
  hash: hbs.AST.Hash | undefined,
): Compiled {
  const name = simpleName(path);
  const condition = name === undefined ? undefined : conditions.get(name);
  const helper = name === undefined ? undefined : valueHelpers.get(name);
  let get: Expression;
  if (name === 'lookup') get = compileLookup(place, node, params);
  else if (condition) get = compileInlineCondition(place, node, name!, condition, params, hash);
  else if (helper) get = compileHelper(place, node, name!, helper, params, hash);
  else if (name === 'each' || name === 'with') throw syntaxError(node, `${name} is a block: {{#${name} …}}`);
  else throw syntaxError(node, `there is no helper "${path.original}"`);
  return { get, name: path.original, word: undefined };
}

function checkCount(
  node: hbs.AST.Node,
  name: string,
  [least, most]: readonly [number, number],
  given: number,
) {
  if (given >= least && given <= most) return;
  const expected = least === most ? String(least) : `${least} to ${most}`;
  throw syntaxError(node, `${name} takes ${expected} parameter${expected === '1' ? '' : 's'}, not ${given}`);
}

/** The options of a call (`size=10 pad="-"`), each with its expression. */
function compileOptions(place: Place, hash: hbs.AST.Hash | undefined, bareWords: readonly string[]) {
  const options = (hash?.pairs ?? []).map(({ key, value }) => {
    const { get, word } = compileExpression(place, value);
    const bare = bareWords.includes(key) ? word : undefined;
    return [key, bare === undefined ? get : (frame: Frame) => get(frame) ?? bare] as const;
  });
  if (options.length === 0) return undefined;
  return (frame: Frame): ReadonlyMap<string, Value> =>
    new Map(options.map(([key, get]) => [key, present(get(frame))]));
}

const noOptions: ReadonlyMap<string, Value> = new Map();

function present(value: Value): Value {
  return value instanceof Absent ? undefined : value;
}

/** Whether a condition holds, for blocks and inline forms alike. */
export function compileCondition(
  place: Place,
  node: hbs.AST.Node,
  name: string,
  condition: Condition,
  params: readonly hbs.AST.Expression[],
  hash: hbs.AST.Hash | undefined,
): (frame: Frame) => boolean {
  checkCount(node, name, condition.params, params.length);
  const values = params.map((param) => compileExpression(place, param).get);
  const options = compileOptions(place, hash, []);
  if (values.length === 1) {
    const [get] = values as [Expression];
    return (frame) => condition.test([present(get(frame))], options?.(frame) ?? noOptions);
  }
  return (frame) =>
    condition.test(
      values.map((get) => present(get(frame))),
      options?.(frame) ?? noOptions,
    );
}

function compileInlineCondition(
  place: Place,
  node: hbs.AST.Node,
  name: string,
  condition: Condition,
  params: readonly hbs.AST.Expression[],
  hash: hbs.AST.Hash | undefined,
): Expression {
  const holds = compileCondition(place, node, name, condition, params, hash);
  const option = (key: string) => {
    const pair = hash?.pairs.find((item) => item.key === key);
    return pair && compileExpression(place, pair.value).get;
  };
  const [yes, no] = [option('yes'), option('no')];
  return (frame) => {
    frame.run.step(1);
    return holds(frame) ? (yes ? yes(frame) : true) : no ? no(frame) : false;
  };
}

function compileLookup(place: Place, node: hbs.AST.Node, params: readonly hbs.AST.Expression[]): Expression {
  checkCount(node, 'lookup', [2, 2], params.length);
  const [object, key] = params.map((param) => compileExpression(place, param)) as [Compiled, Compiled];
  return (frame) => {
    const segment = textOf(single(key.get(frame))) ?? '';
    return follow(object.get(frame), [segment]) ?? new Absent(`${object.name}.${segment}`);
  };
}

/** A helper call counts one step for each 64 characters that it reads or makes. */
const charsPerStep = 64;

function compileHelper(
  place: Place,
  node: hbs.AST.Node,
  name: string,
  helper: ValueHelper,
  params: readonly hbs.AST.Expression[],
  hash: hbs.AST.Hash | undefined,
): Expression {
  checkCount(node, name, helper.params, params.length);
  const values = params.map((param, index) => {
    const compiled = compileExpression(place, param);
    const bare = index > 0 && helper.bareWords?.params ? compiled.word : undefined;
    return bare === undefined
      ? compiled
      : { ...compiled, get: (frame: Frame) => compiled.get(frame) ?? bare };
  });
  const options = compileOptions(place, hash, helper.bareWords?.options ?? []);
  const needed = helper.needs === 'all' ? values.length : helper.needs === 'first' ? 1 : 0;
  return (frame) => {
    const args: Value[] = [];
    let chars = 0;
    for (let index = 0; index < values.length; index += 1) {
      const { get, name: variable } = values[index]!;
      const value = get(frame);
      if (index < needed) {
        if (value instanceof Absent) return value;
        if (value === undefined) return new Absent(variable);
      }
      if (typeof value === 'string') chars += value.length;
      args.push(present(value));
    }
    const { run } = frame;
    run.step(1 + Math.floor(chars / charsPerStep));
    const result = helper.run(args, options?.(frame) ?? noOptions, {
      now: run.now,
      maxChars: run.maxChars,
    });
    if (typeof result === 'string') run.step(Math.floor(result.length / charsPerStep));
    return result;
  };
}

/** Items of a list, entries of an object; one value is a list of one. Nothing when there is nothing to go through. */
export function itemsOf(value: Value): [string | number, Value][] {
  if (isEmpty(value) || value instanceof Absent) return [];
  if (value instanceof Map) return [...value.entries()];
  return Array.isArray(value) ? value.map((item, index) => [index, item]) : [[0, value]];
}
