import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as sdk from '@aws-sdk/client-pinpoint';
import { afterAll, beforeAll, expect } from 'vitest';
import type { operations } from '../../packages/server/src/edge/pinpoint/operations.ts';
import { accessKey, freePort, Product } from '../chaos/product.ts';

const folder = await mkdtemp('/tmp/postrider-durability-');
await chmod(folder, 0o755);
export const product = new Product({ dataDir: join(folder, 'data'), port: await freePort() });
const client = new sdk.PinpointClient({
  endpoint: product.url,
  region: 'us-east-1',
  credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
  maxAttempts: 1,
});
beforeAll(() => product.start());
afterAll(async () => {
  client.destroy();
  await product.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Names of the operations that were called. */
export const called = new Set<string>();

/** Calls an operation of the real client; its name and input as in the SDK. The answer comes without $metadata. */
export async function call<Name extends keyof typeof operations>(
  name: Name,
  input: object,
  // biome-ignore lint/suspicious/noExplicitAny: the answer has the shape of the operation, which the test knows.
): Promise<any> {
  called.add(name);
  const Command = Reflect.get(sdk, `${name}Command`) as unknown as new (input: object) => sdk.GetAppCommand;
  const { $metadata: _, ...answer } = await client.send(new Command(input));
  return answer;
}

export interface Check {
  what: string;
  expected: unknown;
  read: () => Promise<unknown>;
}
/** What is read after the kill. */
export const checks: Check[] = [];

/** After the kill, each of these reads answers `expected`. */
export function later(what: string, expected: unknown, ...reads: (() => Promise<unknown>)[]): void {
  expect(expected, what).toBeDefined();
  for (const [index, read] of reads.entries())
    checks.push({ what: `${what}, read ${index + 1}`, expected, read });
}

/** What these checks are about changes once more. */
export function forget(what: string): void {
  const kept = checks.filter((check) => !check.what.startsWith(what));
  checks.splice(0, checks.length, ...kept);
}

/** After the kill there is no such thing. */
export function goneLater(what: string, read: () => Promise<unknown>): void {
  const nameOfError = () =>
    read().then(
      () => 'found',
      (error: Error) => error.name,
    );
  checks.push({ what, expected: 'NotFoundException', read: nameOfError });
}

export async function killAndCheck(): Promise<void> {
  await product.killEverything();
  await product.start();
  const found = await Promise.all(checks.map(async ({ read }) => read().catch((error: Error) => error)));
  checks.forEach(({ what, expected }, index) => {
    expect(found[index], what).toEqual(expected);
  });
  expect(checks.length).toBeGreaterThan(20);
  checks.length = 0;
}
