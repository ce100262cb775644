import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Seconds of CPU that all processes of the machine have used. */
async function busySeconds(): Promise<number> {
  const line = (await readFile('/proc/stat', 'utf8')).split('\n')[0]!;
  const [user, nice, system, , , irq, softirq, steal] = line.trim().split(/\s+/).slice(1).map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / 100;
}

/**
 * Waits until the machine uses less than `cores` for a second, at most `limitMs`. Answers the load that it went on with.
 * Where there is no /proc it does not wait.
 */
export async function quietCpu(cores = 0.3, limitMs = 60_000): Promise<number> {
  const until = performance.now() + limitMs;
  for (;;) {
    let load: number;
    try {
      const before = await busySeconds();
      const startedAt = performance.now();
      await sleep(1_000);
      load = (await busySeconds()) - before;
      load /= (performance.now() - startedAt) / 1_000;
    } catch {
      return Number.NaN;
    }
    if (load < cores || performance.now() > until) return load;
  }
}
