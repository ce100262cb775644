import { parentPort, workerData } from 'node:worker_threads';
import type { Variable } from './expressions.ts';
import {
  CompiledTemplate,
  type PartError,
  type Parts,
  type Preview,
  type RenderResult,
} from './render-batch.ts';
import type { RenderLimits } from './run.ts';
import type { Value } from './values.ts';

// The body of a render thread. It answers each request before it takes the next; when it hangs or runs out of memory
// it is stopped from outside (renderer.ts), which reads from `progress` at which message that was.

export interface ThreadData {
  limits: RenderLimits;
  /** One Int32: the index of the message in work. */
  progress: SharedArrayBuffer;
}

export type ThreadRequest =
  | { type: 'load'; template: number; parts: Parts }
  | { type: 'drop'; template: number }
  | { type: 'check'; parts: Parts }
  | { type: 'render'; template: number; messages: Value[][]; now: number }
  | { type: 'preview'; template: number; values: Value[]; now: number };

export type ThreadReply =
  | { type: 'ready' }
  | { type: 'loaded'; variables: readonly Variable[] }
  | { type: 'refused'; error: PartError }
  | { type: 'rendered'; results: RenderResult[] }
  | { type: 'previewed'; preview: Preview | { error: string } };

const { limits, progress } = workerData as ThreadData;
const position = new Int32Array(progress);
const templates = new Map<number, CompiledTemplate>();

function answer(request: ThreadRequest): ThreadReply | undefined {
  switch (request.type) {
    case 'load':
    case 'check': {
      const compiled = CompiledTemplate.compile(request.parts);
      if (!(compiled instanceof CompiledTemplate)) return { type: 'refused', error: compiled };
      if (request.type === 'load') templates.set(request.template, compiled);
      return { type: 'loaded', variables: compiled.variables };
    }
    case 'drop':
      templates.delete(request.template);
      return undefined;
    case 'render': {
      const template = templates.get(request.template)!;
      const results = request.messages.map((values, index) => {
        Atomics.store(position, 0, index);
        return template.render(values, request.now, limits);
      });
      return { type: 'rendered', results };
    }
    case 'preview': {
      const template = templates.get(request.template)!;
      return { type: 'previewed', preview: template.tryPreview(request.values, request.now, limits) };
    }
  }
}

const port = parentPort!;
port.on('message', (request: ThreadRequest) => {
  const reply = answer(request);
  if (reply) port.postMessage(reply);
});
port.postMessage({ type: 'ready' } satisfies ThreadReply);
