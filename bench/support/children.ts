import type { ChildProcess } from 'node:child_process';

/** Ends a child with this process, however that ends short of kill -9: an interrupted bench leaves no load behind. */
export function endWithUs(child: ChildProcess): void {
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}
