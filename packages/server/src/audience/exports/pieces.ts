import sql, { type Sql } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { selectRecipients, selectRecipientsWhere } from '../endpoints/endpoint.sql.ts';
import type { Recipient } from '../endpoints/row.ts';
import { compileSegment } from '../segments/compile.ts';
import { type ExportState, selectBounds, selectIds } from './export.sql.ts';

/** Ids of one piece: greater than `after`, up to and with `upTo` (null: without end). */
export interface PieceRange {
  after: string;
  upTo: string | null;
}

/** What a job exports: the registered endpoints of the application, or the members of a segment. */
export type ExportSource = { from: Sql; where: Sql; isSegment: boolean };

/**
 * A segment is compiled anew for each piece, so that one that is deleted while the job runs ends it instead of
 * exporting fewer and fewer members. Recency counts back from the job's creation.
 * @throws CallerError as `compileSegment`
 */
export async function exportSource(
  db: Queryable,
  applicationId: string,
  state: ExportState,
): Promise<ExportSource> {
  if (state.segmentId === null) {
    const where = sql`e.application_id = ${applicationId} and e.segment_id is null`;
    return { from: sql`endpoints e`, where, isSegment: false };
  }
  const target = { segmentId: state.segmentId, version: state.segmentVersion ?? undefined };
  const { from, where } = await compileSegment(db, applicationId, target, { now: state.createdAt });
  return { from, where, isSegment: true };
}

/** Cuts what is to be exported into pieces of `pieceEndpoints`; there is always at least one, if only an empty one. */
export async function planPieces(
  db: Queryable,
  source: ExportSource,
  pieceEndpoints: number,
): Promise<{ total: number; bounds: string[] }> {
  const { rows } = await db.query<{ total: number; bounds: string[] | null }>(
    selectBounds(source.from, source.where, pieceEndpoints),
  );
  const { total, bounds } = rows[0]!;
  const all = bounds ?? [];
  // The last piece is open to the end, so it needs no bound even when it is full.
  return { total, bounds: total > 0 && total % pieceEndpoints === 0 ? all.slice(0, -1) : all };
}

/**
 * The endpoints of a piece by id, page by page; the next page is read while the last one is worked with. Members of a
 * segment are decided once, at the beginning of the piece; each endpoint is read as it is when its page is.
 */
export async function* readPiece(
  db: Queryable,
  applicationId: string,
  source: ExportSource,
  range: PieceRange,
  pageEndpoints: number,
): AsyncGenerator<Recipient[]> {
  const read = source.isSegment
    ? memberPages(db, applicationId, await selectMemberIds(db, source, range), pageEndpoints)
    : registeredPages(db, applicationId, range, pageEndpoints);
  let page = read();
  for (;;) {
    const found = await page;
    if (!found) return;
    page = read();
    // It is awaited above, unless the reader leaves.
    page.catch(() => undefined);
    if (found.length > 0) yield found;
  }
}

/** The next page, undefined after the last one; asked for when the one before has come. */
type ReadPage = () => Promise<Recipient[] | undefined>;

function registeredPages(
  db: Queryable,
  applicationId: string,
  { after, upTo }: PieceRange,
  pageEndpoints: number,
): ReadPage {
  let position = after;
  let isLast = false;
  return async () => {
    if (isLast) return undefined;
    const condition = upTo === null ? 'e.id > $2' : 'e.id > $2 and e.id <= $3';
    const values = upTo === null ? [position] : [position, upTo];
    const page = await selectRecipientsWhere(db, applicationId, condition, values, pageEndpoints);
    isLast = page.length < pageEndpoints;
    position = page.at(-1)?.id ?? position;
    return page;
  };
}

async function selectMemberIds(db: Queryable, source: ExportSource, range: PieceRange): Promise<string[]> {
  const { rows } = await db.query<{ ids: string[] }>(selectIds(source.from, source.where, range));
  return rows[0]!.ids;
}

function memberPages(db: Queryable, applicationId: string, ids: string[], pageEndpoints: number): ReadPage {
  let start = 0;
  return async () => {
    if (start >= ids.length) return undefined;
    const wanted = ids.slice(start, start + pageEndpoints);
    start += pageEndpoints;
    const found = new Map(
      (await selectRecipients(db, applicationId, wanted)).map((recipient) => [recipient.id, recipient]),
    );
    return wanted.flatMap((id) => found.get(id) ?? []);
  };
}
