import { CallerError } from '../../platform/errors.ts';
import type { OperationModel } from './model.ts';

interface Node {
  literals: Map<string, Node>;
  label: Node | undefined;
  /** By method; empty inside a path. */
  operations: Map<string, Route>;
}

interface Route {
  model: OperationModel;
  /** Names of the path's labels, in order. */
  labels: string[];
}

export interface Match {
  model: OperationModel;
  /** Decoded values of the path's labels. */
  labels: Map<string, string>;
}

/** Longest path that is looked at; Node's own limit for all headers is 16 kB. */
const maxSegments = 16;

/** Finds the operation of a request by its raw path: segments are told apart before they are decoded. */
export class Router {
  readonly #root: Node = emptyNode();

  constructor(models: Iterable<OperationModel>) {
    for (const model of models) this.#add(model);
  }

  /**
   * @param rawPath the path as it came (`/v1/apps/x/endpoints/a%2Fb`), without the query. One trailing slash is
   * ignored.
   * @throws CallerError not_found, method_not_allowed, or bad_request for a broken percent code.
   */
  match(method: string, rawPath: string): Match {
    const segments = rawPath.split('/').slice(1);
    if (segments.at(-1) === '') segments.pop();
    const values: string[] = [];
    const node = segments.length <= maxSegments ? find(this.#root, segments, 0, values) : undefined;
    if (!node) throw new CallerError('not_found', `No operation has the path ${rawPath.slice(0, 200)}`);
    const route = node.operations.get(method);
    if (!route) {
      const allowed = [...node.operations.keys()].join(', ');
      throw new CallerError('method_not_allowed', `This path takes ${allowed}, not ${method}`);
    }
    return {
      model: route.model,
      labels: new Map(route.labels.map((name, index) => [name, decodeLabel(name, values[index]!)])),
    };
  }

  #add(model: OperationModel): void {
    const labels: string[] = [];
    let node = this.#root;
    for (const segment of model.path.split('/').slice(1)) {
      if (segment.startsWith('{')) {
        labels.push(segment.slice(1, -1));
        node.label ??= emptyNode();
        node = node.label;
      } else {
        const next: Node = node.literals.get(segment) ?? emptyNode();
        node.literals.set(segment, next);
        node = next;
      }
    }
    node.operations.set(model.method, { model, labels });
  }
}

function emptyNode(): Node {
  return { literals: new Map(), label: undefined, operations: new Map() };
}

/**
 * A literal beats a label, but only when the rest of the path fits too
 * (`/templates/{name}/email/versions` is a template type, `/templates/{name}/email` is a template).
 */
function find(node: Node, segments: string[], index: number, values: string[]): Node | undefined {
  const segment = segments[index];
  if (segment === undefined) return node.operations.size > 0 ? node : undefined;
  const literal = node.literals.get(segment);
  const found = literal && find(literal, segments, index + 1, values);
  if (found) return found;
  // Signers leave out empty and dot segments before they sign, so a path with one is not the path that was signed.
  if (!node.label || segment === '' || segment === '.' || segment === '..') return undefined;
  values.push(segment);
  const labelled = find(node.label, segments, index + 1, values);
  if (!labelled) values.pop();
  return labelled;
}

function decodeLabel(name: string, raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    throw new CallerError('bad_request', `${name}: the path holds a broken percent code`, name);
  }
}
