import { appendFacts, type Fact } from '../../events/index.ts';
import type { Queryable, Transaction } from '../../platform/database.ts';
import type { UserRow } from './endpoint.sql.ts';
import { type NameMap, nameMap } from './item.ts';
import { sameValues } from './merge.ts';
import type { EndpointRow } from './row.ts';
import { deleteWatches, insertWatches, selectWatchedNames } from './watch.sql.ts';

/** The type of the facts that say that a watched attribute has another value now. */
export const changedFactType = 'endpoint.changed';

/** An attribute whose changes somebody wants to be facts. */
export interface Watch {
  /** Of the endpoint itself, or of its user. */
  kind: 'endpoint' | 'user';
  name: string;
}

/** The values before and after a change; null where there were none. */
export interface AttributeChange {
  before: string[] | null;
  after: string[] | null;
}

/**
 * The payload of `endpoint.changed`: the watched attributes that changed. A change of an endpoint's own attributes has
 * the endpoint's id in the fact; one of a user's attributes has none, since it is about all of the user's endpoints.
 */
export interface ChangedPayload extends Record<string, unknown> {
  attributes?: NameMap<AttributeChange>;
  userAttributes?: NameMap<AttributeChange>;
  userId?: string;
}

/** From the caller's commit on, changes of exactly these attributes are facts for `watcher`; none ends it. */
export async function watchAttributes(
  tx: Transaction,
  applicationId: string,
  watcher: string,
  watches: readonly Watch[],
): Promise<void> {
  await tx.query(deleteWatches(applicationId, watcher));
  if (watches.length > 0) await tx.query(insertWatches(applicationId, watcher, watches));
}

/** Registered endpoints and users as they were and as they are. */
export interface Changes {
  before: { endpoints: ReadonlyMap<string, EndpointRow>; users: ReadonlyMap<string, UserRow> };
  endpoints: readonly EndpointRow[];
  users: readonly UserRow[];
}

/**
 * Appends a fact for each endpoint and each user with another value in a watched attribute, in the transaction that
 * changes them. A new endpoint or user has had no values before. Asks the database only when something changed at all.
 */
export async function appendChanges(tx: Transaction, applicationId: string, changes: Changes): Promise<void> {
  const { before, endpoints, users } = changes;
  const of = (rows: ReadonlyMap<string, { attributes: NameMap<string[]> }>, id: string) =>
    rows.get(id)?.attributes;
  const changedEndpoints = endpoints.filter((row) => differs(of(before.endpoints, row.id), row.attributes));
  const changedUsers = users.filter((row) => differs(of(before.users, row.id), row.attributes));
  if (changedEndpoints.length === 0 && changedUsers.length === 0) return;
  const watched = await watchedNames(tx, applicationId);
  if (watched.endpoint.length === 0 && watched.user.length === 0) return;
  const facts: Fact[] = [];
  for (const row of changedEndpoints) {
    const attributes = changesOf(watched.endpoint, of(before.endpoints, row.id), row.attributes);
    if (!attributes) continue;
    const payload: ChangedPayload = { attributes, ...(row.userId === null ? {} : { userId: row.userId }) };
    facts.push({ type: changedFactType, applicationId, endpointId: row.id, payload });
  }
  for (const row of changedUsers) {
    const userAttributes = changesOf(watched.user, of(before.users, row.id), row.attributes);
    if (!userAttributes) continue;
    facts.push({ type: changedFactType, applicationId, payload: { userAttributes, userId: row.id } });
  }
  if (facts.length > 0) await appendFacts(tx, facts);
}

async function watchedNames(db: Queryable, applicationId: string): Promise<Record<Watch['kind'], string[]>> {
  const { rows } = await db.query<Watch>(selectWatchedNames(applicationId));
  const named = (kind: Watch['kind']) => rows.filter((row) => row.kind === kind).map(({ name }) => name);
  return { endpoint: named('endpoint'), user: named('user') };
}

function differs(before: NameMap<string[]> | undefined, after: NameMap<string[]>): boolean {
  const names = Object.keys(after);
  if (before === undefined) return names.length > 0;
  if (names.length !== Object.keys(before).length) return true;
  return names.some((name) => !Object.hasOwn(before, name) || !sameValues(before[name]!, after[name]!));
}

function changesOf(
  names: readonly string[],
  before: NameMap<string[]> | undefined,
  after: NameMap<string[]>,
): NameMap<AttributeChange> | undefined {
  const changes = nameMap<AttributeChange>();
  const valuesIn = (map: NameMap<string[]> | undefined, name: string) =>
    map && Object.hasOwn(map, name) ? map[name]! : null;
  for (const name of names) {
    const [old, now] = [valuesIn(before, name), valuesIn(after, name)];
    const same = old === null || now === null ? old === now : sameValues(old, now);
    if (!same) changes[name] = { before: old, after: now };
  }
  return Object.keys(changes).length > 0 ? changes : undefined;
}
