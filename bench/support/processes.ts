import { readdir, readFile } from 'node:fs/promises';

export interface ProcessInfo {
  pid: number;
  parent: number;
  command: string;
}

/** The processes below `pid`, itself included, by /proc. */
export async function processTree(pid: number): Promise<ProcessInfo[]> {
  const all = new Map<number, ProcessInfo>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = await readFile(`/proc/${entry}/stat`, 'utf8');
      const command = (await readFile(`/proc/${entry}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
      // The name in brackets may contain anything, so count from its end.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      all.set(Number(entry), { pid: Number(entry), parent, command });
    } catch (error) {
      // A process that ended meanwhile is not in the tree.
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  const tree: ProcessInfo[] = [];
  const queue = [pid];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const info = all.get(next);
    if (!info || tree.includes(info)) continue;
    tree.push(info);
    for (const other of all.values()) if (other.parent === next) queue.push(other.pid);
  }
  return tree;
}

/** Resident memory of a process in MB; 0 when it has ended. */
export async function residentMb(pid: number): Promise<number> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0;
    throw error;
  }
}

/** Samples the memory of a process every 100 ms until `stop()`, which answers the first and the highest figure in MB. */
export function sampleMemory(pid: number): { stop(): Promise<{ firstMb: number; highestMb: number }> } {
  let firstMb: number | undefined;
  let highestMb = 0;
  const sample = async () => {
    const mb = await residentMb(pid);
    firstMb ??= mb;
    highestMb = Math.max(highestMb, mb);
  };
  let last = sample();
  const timer = setInterval(() => {
    last = sample();
  }, 100);
  return {
    async stop() {
      clearInterval(timer);
      await last;
      await sample();
      return { firstMb: firstMb ?? 0, highestMb };
    },
  };
}
