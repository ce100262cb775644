import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The rooms of packages/server/src, in the order in which they may import: each only those before it. */
export const rooms = [
  'platform',
  'events',
  'accounts',
  'audience',
  'analytics',
  'content',
  'messaging',
  'providers',
  'streams',
  'engagement',
  'privacy',
  'edge',
] as const;

const source = 'packages/server/src';

/** Modules that open connections. Hosts that a user named are reached through platform/outbound.ts only. */
const networkModules = /^(?:node:)?(?:net|tls|dgram|dns|dns\/promises|http|https|http2)$/;

/** An import that breaks a rule of the house. */
export interface Violation {
  file: string;
  line: number;
  message: string;
}

/** A module that a file imports, statically or not, with the line. */
interface Import {
  specifier: string;
  line: number;
  /** `import type` leaves nothing behind at run time. */
  typeOnly: boolean;
}

/**
 * Checks the sources of the server, as a map from path (`packages/server/src/…`) to text. Test files may import what
 * they need from any room and from tests/, but the program may not import tests.
 */
export function checkLayering(files: ReadonlyMap<string, string>): Violation[] {
  return [...files].flatMap(([file, text]) =>
    isTest(file)
      ? []
      : importsOf(text).flatMap((found) => {
          const message = found.specifier.startsWith('.')
            ? checkRelative(file, found.specifier)
            : checkModule(file, found);
          return message ? [{ file, line: found.line, message }] : [];
        }),
  );
}

function isTest(file: string): boolean {
  return /\.(test|fixture)(-[a-z]+)?\.ts$/.test(file);
}

/** The room of a file; undefined for the files above all rooms (main, start, jobs, roles, commands). */
function roomOf(file: string): string | undefined {
  const [first = ''] = posix.relative(source, file).split('/');
  return (rooms as readonly string[]).includes(first) ? first : undefined;
}

function checkRelative(file: string, specifier: string): string | undefined {
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  if (!target.startsWith(`${source}/`))
    return target.startsWith('packages/server/')
      ? undefined
      : `${specifier} leads out of the server's sources`;
  if (isTest(target)) return `${specifier} is a test; the program does not import tests`;
  const from = roomOf(file);
  const to = roomOf(target);
  if (from === to) return undefined;
  if (to === undefined)
    return from === undefined ? undefined : `${from}/ may not import ${specifier}: it lies above all rooms`;
  const order = rooms as readonly string[];
  if (from !== undefined && order.indexOf(to) > order.indexOf(from))
    return `${from}/ may not import ${to}/: it comes later in the order of the rooms`;
  if (to === 'platform') return undefined;
  const inner = posix.relative(`${source}/${to}`, target);
  if (from === 'providers')
    return to === 'messaging' && inner === 'provider.ts'
      ? undefined
      : 'providers/ may import only messaging/provider.ts and platform/';
  return isEntrance(to, inner) ? undefined : `${to}/ is entered by its index.ts, not by ${inner}`;
}

/** A room of several houses (edge/aws, providers/smtp) may have an entrance for each. */
function isEntrance(room: string, inner: string): boolean {
  if (inner === 'index.ts') return true;
  return (room === 'edge' || room === 'providers') && /^[^/]+\/index\.ts$/.test(inner);
}

function checkModule(file: string, { specifier, typeOnly }: Import): string | undefined {
  if (typeOnly || !networkModules.test(specifier)) return undefined;
  const room = roomOf(file);
  // platform/ owns connections; edges and roles listen.
  if (room === undefined || room === 'platform' || room === 'edge') return undefined;
  return `${room}/ may not use ${specifier}: connections are opened by platform/outbound.ts`;
}

/** Import and export-from statements and `import()` calls, outside of comments. */
function importsOf(text: string): Import[] {
  // Comments become blanks of the same lines, so that lines stay right; strings with `//` in them are left alone.
  const code = text.replace(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (whole, literal: string | undefined) => literal ?? whole.replace(/[^\n]/g, ' '),
  );
  const pattern =
    /(?:^|[;\n])\s*(?:import|export)(\s+type)?\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|[;\n])\s*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(pattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? match[4] ?? '';
    const at = match.index + match[0].lastIndexOf(specifier);
    return { specifier, line: code.slice(0, at).split('\n').length, typeOnly: match[1] !== undefined };
  });
}

/** All sources of the server. */
export async function readSources(): Promise<Map<string, string>> {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const entries = await readdir(join(root, source), { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const files = await Promise.all(
    paths.map(
      async (path): Promise<[string, string]> => [
        relative(root, path).split(sep).join('/'),
        await readFile(path, 'utf8'),
      ],
    ),
  );
  return new Map(files);
}
