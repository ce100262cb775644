import type { ObjectStore } from '../platform/objects.ts';

export interface DemoOptions {
  /** Where the API listens: `http://127.0.0.1:8080`. */
  url: string;
  region: string;
  key: { id: string; secret: string };
  objects: ObjectStore;
  print(line: string): void;
  /** Redraws the last line, on a terminal. */
  redraw?: (line: string) => void;
}

/** Where the audience of a campaign is; its parts add up. */
export interface Accounting {
  audience: number;
  pending: number;
  outcomes: Record<string, number>;
  reasons: Record<string, number>;
}

export function readAccounting(
  options: DemoOptions,
  applicationId: string,
  campaignId: string,
): Promise<Accounting> {
  return callJson(options, 'GET', `/api/apps/${applicationId}/campaigns/${campaignId}/accounting`);
}

/** Asks the own API. @throws Error with what it answered, when that is no success */
export async function callJson<T>(
  { url, key }: DemoOptions,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<T> {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(`${key.id}:${key.secret}`).toString('base64')}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    body: body && JSON.stringify(body),
  });
  if (!response.ok)
    throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** Asks `done` every 200 ms. @throws Error that names `what` when it takes longer than `timeoutMs` */
export async function until(timeoutMs: number, what: string, done: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`${what} did not finish within ${timeoutMs / 1000} seconds`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** `share` of 1 as a bar of twenty places. */
export function bar(share: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * 20);
  return `[${'█'.repeat(filled)}${'░'.repeat(20 - filled)}]`;
}
