import type { UserEndpoint, UserRow } from './endpoint.sql.ts';
import { guardedStatus, guardRefusal } from './guard.ts';
import type { EndpointChange } from './item.ts';
import { nameMap } from './item.ts';
import { mergeEndpoint, mergeMap, newRow, sameValues } from './merge.ts';
import { copyRow, type EndpointRow, memberKey } from './row.ts';

/**
 * Endpoints of these channels give way when a user has too many (reference 2.3). The list in the documents leaves
 * out APNS_SANDBOX, though its three sisters are in it; here it is in.
 */
const evictable: ReadonlySet<string | null> = new Set([
  'ADM',
  'GCM',
  'APNS',
  'APNS_SANDBOX',
  'APNS_VOIP',
  'APNS_VOIP_SANDBOX',
  'BAIDU',
]);

/** 15 by the newest documents of Pinpoint, 10 by the older ones, whose message differs, too (reference 1.3, 2.3). */
export function tooManyEndpoints(limit: number): string {
  return `Exceeded maximum endpoint per user count${limit === 10 ? '' : ':'} ${limit}`;
}

/** What the changes are applied to, as far as it is known. */
export interface State {
  endpoints: Map<string, EndpointRow>;
  users: Map<string, UserRow>;
  /** The endpoints of users that get a new one; a user that is not in it has none. */
  userEndpoints: UserEndpoint[];
  /** Active endpoints with an address that an endpoint is about to get. */
  active: { id: string; channel: string; address: string }[];
}

export interface ApplyOptions {
  segmentId: string | null;
  now: number;
  endpointsPerUser: number;
  drawCohort: () => number;
}

/** A change that could not be made; `member` is the path of the member at fault within the item. */
export interface Refusal {
  index: number;
  member: string;
  message: string;
  /** Refused not for what it says, but because this caller may not change the endpoint. */
  forbidden?: boolean;
}

/** What is to be written. */
export interface Applied {
  newEndpoints: EndpointRow[];
  changedEndpoints: EndpointRow[];
  newUsers: UserRow[];
  changedUsers: UserRow[];
  refusals: Refusal[];
  /** Ids of the endpoints whose changes were made, also when nothing was different. */
  accepted: Set<string>;
  /** By the `index` of a change: the user of its endpoint right after it, for those that have one. */
  userIds: Map<number, string>;
  /** A row is needed that is not in `state.endpoints`: read again. */
  stale: boolean;
}

const addressKey = (channel: string, address: string) => `${channel} ${address}`;

/** Where an endpoint takes part in the rule that an address has one active endpoint of a channel. */
export function activeKey(row: Pick<EndpointRow, 'status' | 'channel' | 'address'>): string | null {
  if (row.status !== 'ACTIVE' || row.channel === null || row.address === null) return null;
  return addressKey(row.channel, row.address);
}

/** Applies changes in their order to copies of the rows in `state`, without touching the database. */
export function applyChanges(changes: EndpointChange[], state: State, options: ApplyOptions): Applied {
  const work = new Work(state, options);
  for (const change of changes) work.apply(change);
  return work.result();
}

class Work {
  readonly #state: State;
  readonly #options: ApplyOptions;
  readonly #endpoints = new Map<string, EndpointRow>();
  readonly #users = new Map<string, UserRow>();
  readonly #changedEndpoints = new Set<string>();
  readonly #changedUsers = new Set<string>();
  // Lists, not sets or maps: nearly all have one entry, and there is one for each row of an import.
  readonly #byUser = new Map<string, UserEndpoint[]>();
  readonly #byAddress = new Map<string, string[]>();
  readonly #refusals: Refusal[] = [];
  readonly #accepted = new Set<string>();
  readonly #userIds = new Map<number, string>();
  #stale = false;

  constructor(state: State, options: ApplyOptions) {
    this.#state = state;
    this.#options = options;
    for (const entry of state.userEndpoints) this.#endpointsOf(entry.userId).push(entry);
    for (const { id, channel, address } of state.active)
      this.#holdersOf(addressKey(channel, address)).push(id);
  }

  apply(change: EndpointChange): void {
    const existing = this.#endpoint(change.id);
    const keepsUser = change.userId === undefined || (existing !== undefined && change.onlyIfNew);
    const userId = keepsUser ? (existing?.userId ?? null) : (change.userId ?? null);
    const refusal = this.#refusal(change, existing, userId);
    if (refusal) {
      this.#refusals.push({ index: change.index, ...refusal });
      return;
    }
    this.#accepted.add(change.id);
    if (userId !== null) this.#userIds.set(change.index, userId);
    if (existing && change.onlyIfNew) return;
    const row =
      existing ?? newRow(change, this.#options.segmentId, this.#options.now, this.#options.drawCohort);
    if (!existing) this.#endpoints.set(row.id, row);
    const keyBefore = existing ? activeKey(row) : null;
    const status = this.#guardedStatus(change, existing, userId);
    let changed = mergeEndpoint(row, status ? { ...change, status } : change) || row.userId !== userId;
    const effectiveAt = change.effectiveAt ?? (changed && existing ? this.#options.now : row.effectiveAt);
    if (row.effectiveAt !== effectiveAt) {
      row.effectiveAt = effectiveAt;
      changed = true;
    }
    if (row.userId !== userId) this.#moveToUser(row, userId);
    if (changed || !existing) this.#changedEndpoints.add(row.id);
    if (userId !== null && (change.userId || change.userAttributes)) this.#mergeUser(userId, change);
    const key = activeKey(row);
    if (key !== keyBefore) this.#takeAddress(row, keyBefore, key);
  }

  result(): Applied {
    const newEndpoints: EndpointRow[] = [];
    const changedEndpoints: EndpointRow[] = [];
    for (const id of this.#changedEndpoints) {
      const row = this.#endpoints.get(id)!;
      if (this.#state.endpoints.has(id)) changedEndpoints.push(row);
      else newEndpoints.push(row);
    }
    const newUsers: UserRow[] = [];
    const changedUsers: UserRow[] = [];
    for (const id of this.#changedUsers) {
      const row = this.#users.get(id)!;
      if (this.#state.users.has(id)) changedUsers.push(row);
      else newUsers.push(row);
    }
    return {
      newEndpoints: newEndpoints.sort(byId),
      changedEndpoints: changedEndpoints.sort(byId),
      newUsers: newUsers.sort(byId),
      changedUsers: changedUsers.sort(byId),
      refusals: this.#refusals,
      accepted: this.#accepted,
      userIds: this.#userIds,
      stale: this.#stale,
    };
  }

  /** Why the change cannot be made; room for another endpoint of the user is made when that helps. */
  #refusal(
    change: EndpointChange,
    existing: EndpointRow | undefined,
    userId: string | null,
  ): Omit<Refusal, 'index'> | undefined {
    if (existing && existing.segmentId !== this.#options.segmentId) {
      return { member: 'Id', message: 'this id is taken by a member of an imported segment' };
    }
    if (existing && change.mustBeNew) {
      return { member: 'Id', message: 'an endpoint with this id exists already', forbidden: true };
    }
    const guarded = change.guard && guardRefusal(change, existing, change.guard);
    if (guarded) return guarded;
    if (!existing && change.mustBeComplete && !isComplete(change)) {
      return { member: 'Address', message: 'a new endpoint needs ChannelType and Address' };
    }
    if (userId === null && change.userAttributes) {
      return {
        member: 'User.UserAttributes',
        message: 'needs User.UserId, since this endpoint has no user',
      };
    }
    if (userId !== null && userId !== existing?.userId && !this.#makeRoom(userId, change)) {
      return { member: 'User.UserId', message: tooManyEndpoints(this.#options.endpointsPerUser) };
    }
    return undefined;
  }

  /** A copy of the row that may be changed. */
  #endpoint(id: string): EndpointRow | undefined {
    const row = this.#endpoints.get(id);
    if (row) return row;
    const stored = this.#state.endpoints.get(id);
    if (!stored) return undefined;
    const copy = copyRow(stored);
    this.#endpoints.set(id, copy);
    return copy;
  }

  #endpointsOf(userId: string): UserEndpoint[] {
    let entries = this.#byUser.get(userId);
    if (!entries) {
      entries = [];
      this.#byUser.set(userId, entries);
    }
    return entries;
  }

  /** Ids of the active endpoints with this address. */
  #holdersOf(key: string): string[] {
    let ids = this.#byAddress.get(key);
    if (!ids) {
      ids = [];
      this.#byAddress.set(key, ids);
    }
    return ids;
  }

  /** Can the user have one more endpoint? Sends away the one that was effective longest ago, where that is allowed. */
  #makeRoom(userId: string, change: EndpointChange): boolean {
    if (this.#options.segmentId !== null) return true;
    const entries = this.#endpointsOf(userId);
    if (entries.length < this.#options.endpointsPerUser) return true;
    if (entries.some(({ id }) => id === change.id)) return true;
    const channel = change.channel ?? this.#endpoint(change.id)?.channel ?? null;
    if (!evictable.has(channel)) return false;
    let oldest: UserEndpoint | undefined;
    for (const entry of entries) {
      if (!evictable.has(entry.channel)) continue;
      if (
        !oldest ||
        entry.effectiveAt < oldest.effectiveAt ||
        (entry.effectiveAt === oldest.effectiveAt && entry.id < oldest.id)
      ) {
        oldest = entry;
      }
    }
    if (!oldest) return false;
    const row = this.#endpoint(oldest.id);
    if (row?.userId !== userId) {
      this.#stale = true;
      return true;
    }
    const keyBefore = activeKey(row);
    row.status = 'INACTIVE';
    this.#moveToUser(row, null);
    if (keyBefore !== null) remove(this.#holdersOf(keyBefore), row.id);
    this.#changedEndpoints.add(row.id);
    return true;
  }

  /** The status that a guarded change leads to; undefined when there is no guard. */
  #guardedStatus(
    change: EndpointChange,
    existing: EndpointRow | undefined,
    userId: string | null,
  ): 'ACTIVE' | 'INACTIVE' | undefined {
    const { guard } = change;
    if (!guard) return undefined;
    const channel = change.channel ?? existing?.channel ?? null;
    const address = change.address === undefined ? (existing?.address ?? null) : change.address;
    let isHeldByOthers = false;
    if (channel !== null && address !== null) {
      for (const id of this.#holdersOf(addressKey(channel, address))) {
        if (id === change.id) continue;
        const holder = this.#endpoint(id);
        if (!holder) this.#stale = true;
        else if (userId === null || holder.userId !== userId || !guard.proves(userId)) isHeldByOthers = true;
      }
    }
    return guardedStatus(change, existing, guard, isHeldByOthers);
  }

  #moveToUser(row: EndpointRow, userId: string | null): void {
    if (row.userId !== null) {
      const entries = this.#endpointsOf(row.userId);
      const place = entries.findIndex(({ id }) => id === row.id);
      if (place !== -1) entries.splice(place, 1);
    }
    row.userId = userId;
    if (userId === null) return;
    this.#endpointsOf(userId).push({
      userId,
      id: row.id,
      channel: row.channel,
      effectiveAt: row.effectiveAt,
    });
  }

  #mergeUser(userId: string, change: EndpointChange): void {
    let row = this.#users.get(userId);
    if (!row) {
      const stored = this.#state.users.get(userId);
      row = { id: userId, attributes: nameMap(stored?.attributes) };
      this.#users.set(userId, row);
      if (!stored) this.#changedUsers.add(userId);
    }
    if (change.userAttributes && mergeMap(row.attributes, change.userAttributes, sameValues)) {
      this.#changedUsers.add(userId);
    }
  }

  /** The endpoint has become the active one of its address: the others with it are no longer. */
  #takeAddress(row: EndpointRow, keyBefore: string | null, key: string | null): void {
    if (keyBefore !== null) remove(this.#holdersOf(keyBefore), row.id);
    if (key === null) return;
    const holders = this.#holdersOf(key);
    for (const id of holders) {
      if (id === row.id) continue;
      const twin = this.#endpoint(id);
      if (!twin) {
        this.#stale = true;
      } else if (activeKey(twin) === key) {
        twin.status = 'INACTIVE';
        this.#changedEndpoints.add(id);
      }
    }
    holders.length = 0;
    holders.push(row.id);
  }
}

function remove(ids: string[], id: string): void {
  const place = ids.indexOf(id);
  if (place !== -1) ids.splice(place, 1);
}

function isComplete(change: EndpointChange): boolean {
  return change.channel !== undefined && (change.address != null || change.channel === 'IN_APP');
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** The change as it is applied to a segment's own members (see `memberKey`). */
export function asMember(change: EndpointChange, segmentId: string): EndpointChange {
  return {
    ...change,
    id: memberKey(segmentId, change.id),
    ...(change.userId ? { userId: memberKey(segmentId, change.userId) } : {}),
  };
}
