import { ownMaps, type VersionedRow } from '../endpoints/endpoint.sql.ts';
import type { EndpointRow } from '../endpoints/row.ts';

/** A registered endpoint and when it was last active, in milliseconds: then or later; null when it never was. */
export interface KnownRow extends VersionedRow {
  activeAt: number | null;
}

/** A registered endpoint as it was read or written last. */
export interface Remembered {
  /** Of its row: while the row has it, nothing of the endpoint is different. */
  version: string;
  userId: string | null;
  /** The `EndpointRow` as JSON: a third of what the object takes, and most are never looked at again. */
  row: string;
  /** An `Endpoint` of a request, as JSON, that was found to change nothing of this row. */
  changesNothing: string | undefined;
  activeAt: number | null;
}

/** What an entry takes beside its texts. */
const entryBytes = 250;
/** Groups that look before they write after one that was wrong. */
const lookAfterConflict = 20;

/**
 * What one process remembers of endpoints, so that it need not read each of them for each event: nearly all say of
 * themselves what they said before. It may be out of date; who uses it compares the version as it writes.
 */
export class EndpointMemory {
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Remembered & { used: boolean }>();
  readonly #watched = new Set<string>();
  #bytes = 0;
  #distrusted = 0;

  /** @param maxBytes about how much memory it takes at most; default 24 MiB, some 25,000 endpoints. */
  constructor(maxBytes = 24 * 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  get(applicationId: string, id: string): Remembered | undefined {
    const entry = this.#entries.get(keyOf(applicationId, id));
    if (entry) entry.used = true;
    return entry;
  }

  /** @param row as the row with this version says. */
  remember(applicationId: string, { version, activeAt, ...row }: KnownRow): Remembered {
    const key = keyOf(applicationId, row.id);
    this.#drop(key);
    const text = JSON.stringify(row);
    const { userId } = row;
    const entry = { version, userId, row: text, changesNothing: undefined, activeAt, used: false };
    this.#entries.set(key, entry);
    this.#bytes += bytesOf(key, entry);
    this.#makeRoom();
    return entry;
  }

  /** @param endpoint an `Endpoint` as JSON that changes nothing of the row that is remembered here. */
  noteNoChange(applicationId: string, id: string, remembered: Remembered, endpoint: string): void {
    const key = keyOf(applicationId, id);
    // Others may have written it meanwhile.
    if (this.#entries.get(key) !== remembered) return;
    this.#bytes -= bytesOf(key, remembered);
    remembered.changesNothing = endpoint;
    this.#bytes += bytesOf(key, remembered);
    this.#makeRoom();
  }

  /** Are changes of the application's attributes facts for somebody, as far as was seen? */
  isWatched(applicationId: string): boolean {
    return this.#watched.has(applicationId);
  }

  noteWatched(applicationId: string, isWatched: boolean): void {
    if (isWatched) this.#watched.add(applicationId);
    else this.#watched.delete(applicationId);
  }

  forget(applicationId: string, ids: Iterable<string>): void {
    for (const id of ids) this.#drop(keyOf(applicationId, id));
  }

  /** Nothing that was remembered holds for sure: the database may be another. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  /** It was wrong: others write the same endpoints or events, so the next groups had better look. */
  distrust(): void {
    this.#distrusted = lookAfterConflict;
  }

  /** May the next group go by what is remembered? */
  trustNext(): boolean {
    if (this.#distrusted === 0) return true;
    this.#distrusted--;
    return false;
  }

  /** About how much memory it takes. */
  bytes(): number {
    return this.#bytes;
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= bytesOf(key, entry);
  }

  /** Those that came first go first, unless they were used since they were last looked at. */
  #makeRoom(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#entries.delete(key);
      if (entry.used) {
        entry.used = false;
        this.#entries.set(key, entry);
      } else this.#bytes -= bytesOf(key, entry);
    }
  }
}

/** The row as it is remembered. */
export function rowOf(remembered: Remembered): EndpointRow {
  return ownMaps(JSON.parse(remembered.row) as EndpointRow);
}

function keyOf(applicationId: string, id: string): string {
  return `${applicationId} ${id}`;
}

function bytesOf(key: string, { row, changesNothing }: Remembered): number {
  return entryBytes + key.length + row.length + (changesNothing?.length ?? 0);
}
