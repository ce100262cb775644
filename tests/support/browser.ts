import { type Browser, chromium } from 'playwright-core';
import { tools } from './requires.ts';

/**
 * A Chromium without windows that asks nothing of the network by itself; whoever starts it closes it. For tests that
 * are skipped where `missing('chromium')` names it.
 */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: tools.chromium,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
