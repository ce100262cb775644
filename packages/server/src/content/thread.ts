import { Worker } from 'node:worker_threads';
import { compileCacheEnvironment } from '../platform/compile-cache.ts';
import type { ThreadData, ThreadReply, ThreadRequest } from './render-thread.ts';
import type { RenderLimits } from './run.ts';

/** Why a thread ended without an answer, and at which message of the request. */
export class ThreadLost extends Error {
  readonly index: number;

  constructor(reason: string, index: number) {
    super(reason);
    this.name = 'ThreadLost';
    this.index = index;
  }
}

export interface ThreadOptions {
  limits: RenderLimits;
  memoryMb: number;
  /** Processor time for one message. */
  timeMs: number;
  /** Processor time for reading one template. */
  compileTimeMs: number;
  /** For the thread to come up. */
  startTimeMs: number;
}

// From the sources the thread runs as TypeScript; in a published package both are JavaScript.
const script = new URL(`./render-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

/** Looks (one each `timeMs`) after which a message is given up that used up no time at all. */
const maxLooks = 30;

interface Pending {
  resolve(reply: ThreadReply): void;
  reject(error: Error): void;
  watchdog: NodeJS.Timeout;
}

/** One render thread: one request at a time; ended for good when a request takes too long. */
export class RenderThread {
  /** Templates that it holds. */
  readonly templates = new Set<number>();
  private readonly unused: number[] = [];
  lost = false;
  private readonly worker: Worker;
  private readonly options: ThreadOptions;
  private readonly position: Int32Array;
  private readonly started: Promise<unknown>;
  private pending: Pending | undefined;
  private failure = '';

  constructor(options: ThreadOptions) {
    this.options = options;
    const progress = new SharedArrayBuffer(4);
    this.position = new Int32Array(progress);
    this.worker = new Worker(script, {
      workerData: { limits: options.limits, progress } satisfies ThreadData,
      // Nothing of the process's settings and secrets is needed in there.
      env: compileCacheEnvironment(),
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: options.memoryMb,
        maxYoungGenerationSizeMb: 16,
        stackSizeMb: 4,
      },
    });
    this.worker.on('message', (reply: ThreadReply) => this.settle()?.resolve(reply));
    this.worker.on('error', (error) => {
      this.failure = error.message;
    });
    this.worker.on('exit', () => this.end(this.failure || 'the render thread ended'));
    const { startTimeMs } = options;
    this.started = this.wait(() =>
      setTimeout(() => this.kill('the render thread did not start'), startTimeMs),
    );
    // Requests wait for it; nobody may be there yet when it fails.
    this.started.catch(() => {});
  }

  /**
   * Sends a request and waits for its answer. Rejects with ThreadLost when the thread does not get on with one message
   * for its time, or dies; with another error when it could not even start, which is no fault of what it was asked.
   */
  async ask(request: ThreadRequest): Promise<ThreadReply> {
    try {
      await this.started;
    } catch (error) {
      throw new Error('a render thread could not start', { cause: error });
    }
    Atomics.store(this.position, 0, 0);
    const isRender = request.type === 'render' || request.type === 'preview';
    const timeMs = isRender ? this.options.timeMs : this.options.compileTimeMs;
    const reply = this.wait((isOpen) => this.watchProgress(timeMs, isOpen));
    this.worker.postMessage(request);
    return reply;
  }

  /** Marks a template as no longer needed after the request in work. */
  drop(template: number): void {
    if (this.templates.delete(template)) this.unused.push(template);
  }

  /** Lets the thread forget what is no longer needed; not answered. */
  dropUnused(): void {
    for (const template of this.unused.splice(0)) {
      this.worker.postMessage({ type: 'drop', template } satisfies ThreadRequest);
    }
  }

  async close(): Promise<void> {
    this.end('the renderer was closed');
    await this.worker.terminate();
  }

  /** Waits for the next reply; `watch` makes what ends the thread when none comes. */
  private wait(watch: (isOpen: () => boolean) => NodeJS.Timeout): Promise<ThreadReply> {
    if (this.lost) return Promise.reject(new ThreadLost(this.failure || 'the render thread ended', 0));
    this.worker.ref();
    return new Promise((resolve, reject) => {
      const pending: Pending = { resolve, reject, watchdog: watch(() => this.pending === pending) };
      this.pending = pending;
    });
  }

  /**
   * Ends the thread when it has spent `timeMs` of processor time on one message. Not of the clock's: on a busy machine
   * a thread that waits for its turn is not stuck. Only one that does nothing at all is ended by the clock.
   */
  private watchProgress(timeMs: number, isOpen: () => boolean): NodeJS.Timeout {
    let seen = -1;
    let looks = 0;
    let spentBefore: number | undefined;
    return setInterval(async () => {
      const index = Atomics.load(this.position, 0);
      if (index !== seen) {
        seen = index;
        looks = 0;
        spentBefore = undefined;
      }
      looks += 1;
      if (looks > maxLooks) return this.kill(`took longer than ${timeMs} ms`);
      const spent = await this.processorMs();
      if (spent === undefined || !isOpen() || Atomics.load(this.position, 0) !== index) return;
      spentBefore ??= spent;
      if (spent - spentBefore >= timeMs) this.kill(`took longer than ${timeMs} ms`);
    }, timeMs);
  }

  /** Undefined when it cannot be read, as while the thread is ending; then only the clock's limit counts. */
  private async processorMs(): Promise<number | undefined> {
    return this.worker.cpuUsage().then(
      ({ user, system }) => (user + system) / 1_000,
      () => undefined,
    );
  }

  private kill(reason: string): void {
    this.end(reason);
    void this.worker.terminate();
  }

  private settle(): Pending | undefined {
    const pending = this.pending;
    this.pending = undefined;
    if (pending) clearInterval(pending.watchdog);
    if (!this.lost) this.worker.unref();
    return pending;
  }

  private end(reason: string): void {
    if (this.lost) return;
    this.lost = true;
    this.settle()?.reject(new ThreadLost(reason, Atomics.load(this.position, 0)));
  }
}
