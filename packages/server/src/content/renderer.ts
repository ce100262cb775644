import type { Clock } from '../platform/clock.ts';
import { CallerError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import type { Variable } from './expressions.ts';
import type { PartError, Parts, Preview, RenderResult } from './render-batch.ts';
import type { ThreadReply, ThreadRequest } from './render-thread.ts';
import { RenderThread, ThreadLost } from './thread.ts';
import { type Defaults, type RenderInput, valuesFor } from './variables.ts';

/** What to render. */
export interface RenderTemplate {
  /** Stands for these parts: what was compiled for a key is used again as long as the parts are the same. */
  key: string;
  parts: Parts;
  /** DefaultSubstitutions: values for variables that a person has none for. */
  defaults?: Defaults;
}

export interface RendererOptions {
  clock: Clock;
  log: Log;
  /** Threads that render at once; each starts when it is first needed. */
  threads?: number;
  /** Heap of a thread. */
  memoryMb?: number;
  /** Processor time for one message; a thread that gets stuck for longer is ended. */
  timeMs?: number;
  /** Processor time for reading one template. */
  compileTimeMs?: number;
  /** Characters of one message. */
  maxChars?: number;
  /** Statements and helper calls of one message. */
  maxSteps?: number;
  /** Messages that may wait; more are refused. */
  maxQueued?: number;
  /** After this time without work a thread ends and gives back its memory; the next message starts one again. */
  idleMs?: number;
}

export interface Renderer {
  /**
   * One result for each input, in their order. A message that cannot be rendered says so in its result; rejects with
   * CallerError `unavailable` only when too much waits or the renderer was closed. Best in batches of 100 to 500 with
   * one template. `urgent` goes before what waits.
   */
  render(
    template: RenderTemplate,
    inputs: readonly RenderInput[],
    options?: { urgent?: boolean },
  ): Promise<RenderResult[]>;
  /** One message as far as it goes, with the variables that would keep it from being sent. */
  preview(template: RenderTemplate, input: RenderInput): Promise<Preview | { error: string }>;
  /** Does it compile? The first part that does not, with the line. */
  check(parts: Parts): Promise<PartError | undefined>;
  close(): Promise<void>;
}

interface Template {
  id: number;
  parts: Parts;
  chars: number;
  variables: readonly Variable[] | undefined;
  error: PartError | undefined;
  /** Threads that it has cost. */
  lost: number;
}

interface Task {
  size: number;
  work(thread: RenderThread): Promise<void>;
  reject(error: Error): void;
}

/** Compiled templates that are kept. */
const maxTemplates = 200;
const maxTemplateChars = 8_000_000;
/** After this many ended threads a template is given up for as long as it is kept. */
const maxLost = 3;

/** Renders templates in threads of their own, so that no template can stop, fill or read the process. */
export function createRenderer(options: RendererOptions): Renderer {
  return new ThreadRenderer(options);
}

class ThreadRenderer implements Renderer {
  private readonly options: Required<RendererOptions>;
  /** Free threads, the one that was used last at the end. */
  private readonly idle: RenderThread[] = [];
  private idleTimer: NodeJS.Timeout | undefined;
  private readonly all = new Set<RenderThread>();
  private readonly queue: Task[] = [];
  private queued = 0;
  private readonly templates = new Map<string, Template>();
  private chars = 0;
  private lastId = 0;
  private closed = false;

  constructor(options: RendererOptions) {
    this.options = {
      threads: 1,
      memoryMb: 128,
      timeMs: 1_000,
      compileTimeMs: 5_000,
      maxChars: 2_000_000,
      maxSteps: 200_000,
      maxQueued: 100_000,
      idleMs: 30_000,
      ...options,
    };
  }

  render(template: RenderTemplate, inputs: readonly RenderInput[], options: { urgent?: boolean } = {}) {
    if (inputs.length === 0) return Promise.resolve([]);
    return this.enqueue(inputs.length, options.urgent === true, (thread) =>
      this.renderOn(thread, template, inputs),
    );
  }

  preview(template: RenderTemplate, input: RenderInput) {
    return this.enqueue(1, true, async (thread): Promise<Preview | { error: string }> => {
      const known = this.find(template);
      try {
        const variables = await this.load(thread, known);
        if (!variables) return { error: describe(known.error!) };
        const values = valuesFor(variables, input, template.defaults ?? {});
        const now = this.options.clock.now();
        const reply = await thread.ask({ type: 'preview', template: known.id, values, now });
        return expectReply(reply, 'previewed').preview;
      } catch (error) {
        if (!(error instanceof ThreadLost)) throw error;
        return { error: error.message };
      }
    });
  }

  check(parts: Parts) {
    return this.enqueue(1, true, async (thread): Promise<PartError | undefined> => {
      try {
        const reply = await thread.ask({ type: 'check', parts });
        return reply.type === 'refused' ? reply.error : undefined;
      } catch (error) {
        if (!(error instanceof ThreadLost) || this.closed) throw error;
        return { part: Object.keys(parts)[0] ?? '', message: `line 1: ${error.message}` };
      }
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.idleTimer);
    const error = new CallerError('unavailable', 'The renderer is closed');
    for (const task of this.queue.splice(0)) task.reject(error);
    this.queued = 0;
    await Promise.all([...this.all].map((thread) => thread.close()));
  }

  private enqueue<T>(size: number, urgent: boolean, run: (thread: RenderThread) => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(new CallerError('unavailable', 'The renderer is closed'));
    if (this.queued + size > this.options.maxQueued && this.queued > 0) {
      return Promise.reject(new CallerError('unavailable', 'Too many messages wait to be rendered'));
    }
    this.queued += size;
    return new Promise((resolve, reject) => {
      const task: Task = { size, reject, work: (thread) => run(thread).then(resolve, reject) };
      if (urgent) this.queue.unshift(task);
      else this.queue.push(task);
      this.next();
    });
  }

  private next(): void {
    while (this.queue.length > 0) {
      const thread = this.freeThread();
      if (!thread) return;
      const task = this.queue.shift()!;
      void task.work(thread).finally(() => {
        this.queued -= task.size;
        thread.dropUnused();
        if (thread.lost) this.all.delete(thread);
        else this.idle.push(thread);
        this.next();
        this.watchIdle();
      });
    }
  }

  /** Ends the free threads when none of them had work for `idleMs`. */
  private watchIdle(): void {
    clearTimeout(this.idleTimer);
    if (this.closed || this.idle.length === 0) return;
    this.idleTimer = setTimeout(() => {
      for (const thread of this.idle.splice(0)) {
        this.all.delete(thread);
        void thread.close();
      }
    }, this.options.idleMs);
    this.idleTimer.unref();
  }

  private freeThread(): RenderThread | undefined {
    for (let thread = this.idle.pop(); thread; thread = this.idle.pop()) {
      // One that died while it had nothing to do must not fail what comes next.
      if (!thread.lost) return thread;
      this.all.delete(thread);
    }
    return this.all.size < this.options.threads ? this.startThread() : undefined;
  }

  private startThread(): RenderThread {
    const { maxChars, maxSteps, memoryMb, timeMs, compileTimeMs } = this.options;
    const thread = new RenderThread({
      limits: { maxChars, maxSteps },
      memoryMb,
      timeMs,
      compileTimeMs,
      startTimeMs: 30_000,
    });
    this.all.add(thread);
    return thread;
  }

  /** Renders a batch; a message that costs the thread is given up and the rest goes on with a new one. */
  private async renderOn(
    first: RenderThread,
    template: RenderTemplate,
    inputs: readonly RenderInput[],
  ): Promise<RenderResult[]> {
    const known = this.find(template);
    const results: (RenderResult | undefined)[] = inputs.map(() => undefined);
    const fill = (error: string) => results.map((result) => result ?? { error });
    let thread = first;
    let open = inputs.map((_input, index) => index);
    try {
      while (open.length > 0) {
        if (known.lost >= maxLost) return fill(`the template ended ${known.lost} render threads`);
        try {
          const rendered = await this.renderOnce(thread, known, template.defaults ?? {}, inputs, open);
          if (!rendered) return fill(describe(known.error!));
          for (const [position, index] of open.entries()) results[index] = rendered[position]!;
          return results as RenderResult[];
        } catch (error) {
          if (!(error instanceof ThreadLost)) throw error;
          if (this.closed) throw new CallerError('unavailable', 'The renderer is closed');
          known.lost += 1;
          const { log } = this.options;
          log.warn({ template: template.key, reason: error.message }, 'a template ended its render thread');
          if (!known.variables) return fill(error.message);
          const index = open[error.index];
          if (index !== undefined) results[index] = { error: error.message };
          open = open.filter((other) => other !== index);
          if (thread !== first) this.all.delete(thread);
          if (open.length > 0) thread = this.startThread();
        }
      }
      return results as RenderResult[];
    } finally {
      // The first thread is given back by next(); one that replaced it is new to the pool.
      if (thread !== first && !thread.lost) this.idle.push(thread);
    }
  }

  private async renderOnce(
    thread: RenderThread,
    known: Template,
    defaults: Defaults,
    inputs: readonly RenderInput[],
    open: readonly number[],
  ): Promise<RenderResult[] | undefined> {
    const variables = await this.load(thread, known).catch((error: unknown) => {
      // No message was in work yet.
      throw error instanceof ThreadLost ? new ThreadLost(error.message, -1) : error;
    });
    if (!variables) return undefined;
    const messages = open.map((index) => valuesFor(variables, inputs[index]!, defaults));
    const now = this.options.clock.now();
    const reply = await thread.ask({ type: 'render', template: known.id, messages, now });
    return expectReply(reply, 'rendered').results;
  }

  /** The compiled template of a key; a new one when the key's parts have changed. */
  private find({ key, parts }: RenderTemplate): Template {
    const known = this.templates.get(key);
    if (known) this.templates.delete(key);
    if (known && sameParts(known.parts, parts)) {
      // At the end of the order: used last.
      this.templates.set(key, known);
      return known;
    }
    if (known) this.forget(known);
    this.lastId += 1;
    const chars = Object.values(parts).reduce((sum, text) => sum + text.length, 0);
    const template: Template = {
      id: this.lastId,
      parts,
      chars,
      variables: undefined,
      error: undefined,
      lost: 0,
    };
    this.templates.set(key, template);
    this.chars += chars;
    for (const [oldKey, old] of this.templates) {
      if (this.templates.size <= maxTemplates && this.chars <= maxTemplateChars) break;
      if (old === template) break;
      this.templates.delete(oldKey);
      this.forget(old);
    }
    return template;
  }

  private forget(template: Template): void {
    this.chars -= template.chars;
    for (const thread of this.all) thread.drop(template.id);
  }

  /** Makes sure that the thread holds the template; undefined when it does not compile. */
  private async load(thread: RenderThread, template: Template): Promise<readonly Variable[] | undefined> {
    if (template.error) return undefined;
    if (template.variables && thread.templates.has(template.id)) return template.variables;
    const request: ThreadRequest = { type: 'load', template: template.id, parts: template.parts };
    const reply = await thread.ask(request);
    if (reply.type === 'refused') {
      template.error = reply.error;
      return undefined;
    }
    thread.templates.add(template.id);
    template.variables = expectReply(reply, 'loaded').variables;
    return template.variables;
  }
}

function describe({ part, message }: PartError): string {
  return `${part}: ${message}`;
}

function sameParts(left: Parts, right: Parts): boolean {
  if (left === right) return true;
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => left[name] === right[name]);
}

function expectReply<Type extends ThreadReply['type']>(
  reply: ThreadReply,
  type: Type,
): Extract<ThreadReply, { type: Type }> {
  if (reply.type !== type) throw new Error(`render thread answered ${reply.type} instead of ${type}`);
  return reply as Extract<ThreadReply, { type: Type }>;
}
