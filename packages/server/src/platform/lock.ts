import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Another Postrider works on the same data directory. */
export class DirectoryInUseError extends Error {
  readonly pid: number | undefined;

  constructor(directory: string, pid: number | undefined) {
    const who = pid === undefined ? 'another Postrider' : `another Postrider (process ${pid})`;
    super(
      `The data directory ${directory} is in use by ${who}. Stop it first, or give this one its own directory with POSTRIDER_DATA_DIR.`,
    );
    this.pid = pid;
  }
}

/**
 * Takes the data directory for this process until `release()` or the end of the process, however it ends.
 * The lock is the operating system's: SQLite holds a file lock for as long as its transaction is open, which is the
 * only way to one in Node without native code. So it can neither go stale nor be taken twice, also not from two
 * containers that share the folder; the process id beside it is only for the message.
 * @throws DirectoryInUseError
 */
export function lockDirectory(directory: string): { release(): void } {
  mkdirSync(directory, { recursive: true });
  const pidFile = join(directory, 'postrider.pid');
  const lock = openLock(directory);
  if (!lock) throw new DirectoryInUseError(directory, readPid(pidFile));
  writeFileSync(pidFile, `${process.pid}\n`);
  return {
    release() {
      rmSync(pidFile, { force: true });
      lock.close();
    },
  };
}

/** Is the data directory taken by a running Postrider? */
export function isDirectoryLocked(directory: string): boolean {
  const lock = openLock(directory);
  lock?.close();
  return lock === undefined;
}

function openLock(directory: string): DatabaseSync | undefined {
  const file = join(directory, 'postrider.lock');
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('begin exclusive');
    return lock;
  } catch (error) {
    if (lock?.isOpen) lock.close();
    const sqliteBusy = 5;
    if ((error as { errcode?: number }).errcode === sqliteBusy) return undefined;
    throw new Error(`${file} cannot be locked: ${(error as Error).message}`, { cause: error });
  }
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
