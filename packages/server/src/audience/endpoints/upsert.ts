import type { Transaction } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import { touchActivity } from './activity.ts';
import {
  type Applied,
  type ApplyOptions,
  activeKey,
  applyChanges,
  asMember,
  type Refusal,
  type State,
} from './apply.ts';
import { drawCohort } from './cohort.ts';
import {
  beginWork,
  endWork,
  insertEndpoints,
  insertUsers,
  lockAddresses,
  lockEndpoints,
  selectActiveByAddress,
  selectEndpoints,
  selectUserEndpoints,
  selectUsers,
  takeBack,
  updateEndpoints,
  updateUsers,
} from './endpoint.sql.ts';
import type { EndpointGuard } from './guard.ts';
import {
  checkEndpointSize,
  type EndpointChange,
  type EndpointItem,
  type EndpointLimits,
  nameMap,
  protectiveLimits,
  readEndpointItem,
} from './item.ts';
import type { EndpointRow } from './row.ts';
import { appendChanges } from './watch.ts';

export interface UpsertOptions {
  /** Time of the call in milliseconds: EffectiveDate and CreationDate where none is given. */
  now: number;
  /** Default 15 (setting POSTRIDER_ENDPOINTS_PER_USER). */
  endpointsPerUser?: number;
  limits?: EndpointLimits;
  /** Writes the endpoints as members that only this segment sees, not as registered endpoints. */
  segmentId?: string | null;
  /** Writes a sign of life for each endpoint at its EffectiveDate, where one is given: an audience that moves here. */
  activity?: 'stated';
  /** The caller keeps others from giving the same addresses meanwhile, so the locks for that are not needed. */
  addressesAreSerialised?: boolean;
  /** What the caller may do to each of the endpoints, when it is a stranger; more is refused as forbidden. */
  guard?: EndpointGuard;
  /** A guess that saves a look: none of the endpoints exists. When it is wrong, the work starts anew. */
  expectNew?: boolean;
}

export interface UpsertResult {
  created: number;
  /** Did anybody or anything make the work start anew? */
  restarted: boolean;
  /** Rows that were rewritten, those that the rules made INACTIVE included. */
  updated: number;
  /** Only of `upsertChanges`: changes that the rules forbid, and were left out. */
  refusals: Refusal[];
  /** Ids (as stored) of the endpoints whose changes hold now, also when nothing was different. */
  accepted: Set<string>;
  /** By the `index` of a change: the user (as stored) of its endpoint right after it, for those that have one. */
  userIds: Map<number, string>;
  /** Ids (as stored) of the endpoints that were made. */
  newIds: string[];
}

/**
 * How often a batch starts anew because others changed the same endpoints meanwhile: a few milliseconds each. Where half
 * of all attempts are disturbed, 20 of them were too few for one batch in a million.
 */
const maxAttempts = 100;
const uniqueViolation = '23505';

/**
 * Makes or changes endpoints, in the caller's transaction, by the merge rules of the Pinpoint API: absent members
 * stay, maps are merged by key, `[]` or null deletes a key, items for the same endpoint apply in their order.
 * All or nothing. Set-based: a handful of statements for any number of items. Locks are taken in one order, so
 * concurrent batches never deadlock, provided that a transaction calls this once.
 * @param pathOf the place of an item in the request, for messages (default `$.Item[3]`).
 * @throws CallerError `bad_request` that names the member; nothing is changed then.
 */
export async function upsertEndpoints(
  tx: Transaction,
  applicationId: string,
  items: readonly EndpointItem[],
  options: UpsertOptions,
  pathOf: (index: number) => string = (index) => `$.Item[${index}]`,
): Promise<UpsertResult> {
  const limits = options.limits ?? protectiveLimits;
  const changes = items.map((item, index) => {
    const path = pathOf(index);
    if (item.Id === undefined) throw badMember(`${path}.Id`, 'expected the id of the endpoint');
    checkEndpointSize(item, path, limits);
    const change = readEndpointItem(item, item.Id, index, path, limits);
    if (options.guard) change.guard = options.guard;
    return change;
  });
  const result = await upsertChanges(tx, applicationId, changes, options);
  const refusal = result.refusals[0];
  if (refusal) {
    const member = `${pathOf(refusal.index)}.${refusal.member}`;
    // Clients of Pinpoint look for this message at its beginning (reference 1.3), so no path is put in front.
    if (refusal.message.startsWith('Exceeded')) {
      throw new CallerError('bad_request', refusal.message, member);
    }
    if (refusal.forbidden) throw new CallerError('forbidden', `${member}: ${refusal.message}`, member);
    throw badMember(member, refusal.message);
  }
  return result;
}

/**
 * The same for changes that were read before (`readEndpointItem`). Changes that the rules forbid come back in
 * `refusals` and are left out; the others are made.
 */
export async function upsertChanges(
  tx: Transaction,
  applicationId: string,
  changes: EndpointChange[],
  options: UpsertOptions,
): Promise<UpsertResult> {
  if (changes.length === 0) {
    return {
      created: 0,
      updated: 0,
      restarted: false,
      refusals: [],
      accepted: new Set(),
      userIds: new Map(),
      newIds: [],
    };
  }
  const segmentId = options.segmentId ?? null;
  const batch = new Batch(
    tx,
    applicationId,
    segmentId === null ? changes : changes.map((change) => asMember(change, segmentId)),
    {
      segmentId,
      now: options.now,
      endpointsPerUser: options.endpointsPerUser ?? 15,
      drawCohort,
    },
    options,
  );
  const applied = await batch.run();
  if (options.activity) await writeActivity(tx, applicationId, changes, applied, segmentId);
  if (segmentId === null) {
    await appendChanges(tx, applicationId, {
      before: batch.before,
      endpoints: [...applied.newEndpoints, ...applied.changedEndpoints],
      users: [...applied.newUsers, ...applied.changedUsers],
    });
  }
  return {
    created: applied.newEndpoints.length,
    updated: applied.changedEndpoints.length,
    restarted: batch.attempts > 1,
    refusals: applied.refusals,
    accepted: applied.accepted,
    userIds: applied.userIds,
    newIds: applied.newEndpoints.map(({ id }) => id),
  };
}

async function writeActivity(
  tx: Transaction,
  applicationId: string,
  changes: EndpointChange[],
  applied: Applied,
  segmentId: string | null,
): Promise<void> {
  const signs: { endpointId: string; at: number }[] = [];
  for (const change of changes) {
    const at = change.effectiveAt;
    const endpointId = segmentId === null ? change.id : `${segmentId}.${change.id}`;
    if (at !== undefined && applied.accepted.has(endpointId)) signs.push({ endpointId, at });
  }
  await touchActivity(tx, applicationId, signs);
}

/** Which rows a batch touches beside its endpoints, judged by what is known of them. */
interface Needs {
  users: Set<string>;
  /** Users that get an endpoint they did not have. */
  gaining: Set<string>;
  /** `[channel, address]` by key: addresses that get another active endpoint. */
  addresses: Map<string, [string, string]>;
}

class Batch {
  readonly #tx: Transaction;
  readonly #applicationId: string;
  readonly #changes: EndpointChange[];
  readonly #options: ApplyOptions;
  readonly #addressesAreSerialised: boolean;
  readonly #expectNew: boolean;
  readonly #ids: string[];
  attempts = 0;
  /** What the last attempt found. */
  before: Pick<State, 'endpoints' | 'users'> = { endpoints: new Map(), users: new Map() };

  constructor(
    tx: Transaction,
    applicationId: string,
    changes: EndpointChange[],
    options: ApplyOptions,
    hints: Pick<UpsertOptions, 'addressesAreSerialised' | 'expectNew'>,
  ) {
    this.#tx = tx;
    this.#applicationId = applicationId;
    this.#changes = changes;
    this.#options = options;
    this.#addressesAreSerialised = hints.addressesAreSerialised ?? false;
    this.#expectNew = hints.expectNew ?? false;
    this.#ids = [...new Set(changes.map((change) => change.id))];
  }

  /** Tries until no other transaction came between reading and writing; going back releases this attempt's locks. */
  async run(): Promise<Applied> {
    await beginWork(this.#tx);
    while (this.attempts < maxAttempts) {
      this.attempts += 1;
      const applied = await this.#attempt();
      if (applied) {
        await endWork(this.#tx);
        return applied;
      }
      await takeBack(this.#tx);
    }
    throw new CallerError('unavailable', 'These endpoints are changed by others all the time; try again');
  }

  /**
   * Order of locks, the same for everybody: addresses, users, endpoints (each sorted); then new users, new endpoints
   * (each sorted). Who inserts waits only for others that insert, never for a row lock, so there is no circle.
   */
  async #attempt(): Promise<Applied | undefined> {
    const guessing = this.#expectNew && this.attempts === 1;
    const known = guessing
      ? new Map<string, EndpointRow>()
      : await selectEndpoints(this.#tx, this.#applicationId, this.#ids);
    const settled = await this.#settled(known);
    if (settled.changes.size === this.#changes.length) return settled.applied;
    const changes = this.#changes.filter((change) => !settled.changes.has(change));
    const applied = await this.#change(changes, known, guessing);
    return applied && together(settled.applied, applied);
  }

  /** Locks, applies and writes; undefined when others came between. */
  async #change(
    changes: EndpointChange[],
    known: Map<string, EndpointRow>,
    guessing: boolean,
  ): Promise<Applied | undefined> {
    const needs = this.#needs(changes, known);
    if (needs.addresses.size > 0 && !this.#addressesAreSerialised) {
      const addresses = [...needs.addresses.values()].map(([, address]) => address);
      await lockAddresses(this.#tx, this.#applicationId, addresses);
    }
    const users = await this.#users(needs.users, true);
    const userEndpoints = await this.#userEndpoints(needs.gaining, users);
    const active = await this.#active(needs.addresses);

    const wanted = new Set<string>();
    for (const { id } of changes) if (known.has(id)) wanted.add(id);
    for (const twin of active) wanted.add(twin.id);
    for (const id of this.#overfull(userEndpoints, needs)) wanted.add(id);
    let endpoints = known;
    if (wanted.size > 0) {
      endpoints = await lockEndpoints(this.#tx, this.#applicationId, [...wanted]);
      if (!covers(needs, this.#needs(changes, endpoints))) return undefined;
    }
    this.before = { endpoints, users };
    const applied = applyChanges(changes, { endpoints, users, userEndpoints, active }, this.#options);
    // What is refused to a new endpoint may be right for one that exists.
    if (guessing && applied.refusals.length > 0) return undefined;
    return !applied.stale && (await this.#write(applied)) ? applied : undefined;
  }

  /**
   * The changes of endpoints for which nothing would be different, and that nothing else in the batch bears on: for
   * these no row is locked or written.
   */
  async #settled(
    known: Map<string, EndpointRow>,
  ): Promise<{ changes: ReadonlySet<EndpointChange>; applied: Applied }> {
    const still = this.#still(known);
    const applied = applyChanges(
      still,
      { endpoints: known, users: await this.#usersOf(still, known), userEndpoints: [], active: [] },
      this.#options,
    );
    const different = new Set(applied.changedEndpoints.map(({ id }) => id));
    const users = new Set([...applied.changedUsers, ...applied.newUsers].map(({ id }) => id));
    for (const { index, id } of still) if (users.has(applied.userIds.get(index) ?? '')) different.add(id);
    const changes = new Set(different.size === 0 ? still : still.filter(({ id }) => !different.has(id)));
    const indices = new Set([...changes].map(({ index }) => index));
    return {
      changes,
      applied: {
        ...nothingApplied(),
        refusals: applied.refusals.filter(({ index }) => indices.has(index)),
        accepted: new Set([...applied.accepted].filter((id) => !different.has(id))),
        userIds: new Map([...applied.userIds].filter(([index]) => indices.has(index))),
      },
    };
  }

  /** Changes of endpoints that neither get a user or an address nor may be touched by others that do. */
  #still(known: Map<string, EndpointRow>): EndpointChange[] {
    const moving = new Set<string>();
    const { gaining, addresses } = this.#needs(this.#changes, known, moving);
    const owners = new Map<string, string>();
    const shared = new Set<string>();
    for (const { id, userId } of this.#changes) {
      const owner = userId ?? known.get(id)?.userId;
      if (!owner) continue;
      if ((owners.get(owner) ?? id) !== id) shared.add(owner);
      owners.set(owner, id);
    }
    for (const { id, userAttributes } of this.#changes) {
      const row = known.get(id);
      const owner = row?.userId ?? '';
      const address = row && activeKey(row);
      const isBoundUp =
        !row ||
        gaining.has(owner) ||
        (address && addresses.has(address)) ||
        (userAttributes && shared.has(owner));
      if (isBoundUp) moving.add(id);
    }
    return moving.size === 0 ? this.#changes : this.#changes.filter(({ id }) => !moving.has(id));
  }

  /** Users of endpoints that have them; only when attributes of theirs are given it matters what they have. */
  async #usersOf(changes: EndpointChange[], known: Map<string, EndpointRow>): Promise<State['users']> {
    const asked = new Set<string>();
    const users: State['users'] = new Map();
    for (const { id, userAttributes } of changes) {
      const { userId } = known.get(id)!;
      if (userId === null) continue;
      if (userAttributes) asked.add(userId);
      else users.set(userId, { id: userId, attributes: nameMap() });
    }
    for (const user of (await this.#users(asked, false)).values()) users.set(user.id, user);
    for (const id of asked) if (!users.has(id)) users.delete(id);
    return users;
  }

  /** @param moving gets the ids of endpoints that get a user or an address. */
  #needs(
    changes: readonly EndpointChange[],
    endpoints: ReadonlyMap<string, EndpointRow>,
    moving?: Set<string>,
  ): Needs {
    const needs: Needs = { users: new Set(), gaining: new Set(), addresses: new Map() };
    // What earlier changes of the batch make of an endpoint, when some have several.
    const repeats = this.#ids.length < this.#changes.length;
    const seen = new Map<string, Pick<EndpointRow, 'userId' | 'channel' | 'address' | 'status'>>();
    for (const change of changes) {
      const before = seen.get(change.id) ?? endpoints.get(change.id);
      if (before && change.onlyIfNew) continue;
      const userId = change.userId === undefined ? (before?.userId ?? null) : change.userId;
      if (userId !== null && (change.userId || change.userAttributes)) needs.users.add(userId);
      if (userId !== null && userId !== before?.userId) {
        needs.gaining.add(userId);
        moving?.add(change.id);
      }
      const channel = change.channel ?? before?.channel ?? null;
      const address = change.address === undefined ? (before?.address ?? null) : change.address;
      const status = change.status ?? 'ACTIVE';
      const gains = before?.status !== status || before.channel !== channel || before.address !== address;
      if (gains && status === 'ACTIVE' && channel !== null && address !== null) {
        needs.addresses.set(`${channel} ${address}`, [channel, address]);
        moving?.add(change.id);
      }
      if (repeats) seen.set(change.id, { userId, channel, address, status });
    }
    return needs;
  }

  async #users(ids: Set<string>, lock: boolean): Promise<State['users']> {
    if (ids.size === 0) return new Map();
    return selectUsers(this.#tx, this.#applicationId, [...ids], lock);
  }

  async #userEndpoints(gaining: Set<string>, users: State['users']): Promise<State['userEndpoints']> {
    const existing = [...gaining].filter((id) => users.has(id));
    if (existing.length === 0 || this.#options.segmentId !== null) return [];
    return selectUserEndpoints(this.#tx, this.#applicationId, existing);
  }

  async #active(addresses: Needs['addresses']): Promise<State['active']> {
    if (addresses.size === 0) return [];
    const pairs = [...addresses.values()];
    return selectActiveByAddress(
      this.#tx,
      this.#applicationId,
      this.#options.segmentId,
      pairs.map(([channel]) => channel),
      pairs.map(([, address]) => address),
    );
  }

  /** Ids of the endpoints of those users who may get too many: one of them may have to go. */
  #overfull(userEndpoints: State['userEndpoints'], needs: Needs): string[] {
    if (userEndpoints.length === 0) return [];
    const counts = new Map<string, number>();
    for (const { userId } of userEndpoints) counts.set(userId, (counts.get(userId) ?? 0) + 1);
    for (const { userId } of this.#changes) {
      if (userId && needs.gaining.has(userId)) counts.set(userId, (counts.get(userId) ?? 0) + 1);
    }
    return userEndpoints
      .filter(({ userId }) => counts.get(userId)! > this.#options.endpointsPerUser)
      .map(({ id }) => id);
  }

  /** False when somebody else made one of the new rows meanwhile; the savepoint must be rolled back then. */
  async #write(applied: Applied): Promise<boolean> {
    const { changedUsers, changedEndpoints, newUsers, newEndpoints } = applied;
    if (changedUsers.length > 0) await updateUsers(this.#tx, this.#applicationId, changedUsers);
    if (changedEndpoints.length > 0) {
      await updateEndpoints(this.#tx, this.#applicationId, changedEndpoints);
    }
    try {
      if (newUsers.length > 0) await insertUsers(this.#tx, this.#applicationId, newUsers);
      if (newEndpoints.length > 0) await insertEndpoints(this.#tx, this.#applicationId, newEndpoints);
    } catch (error) {
      if ((error as { code?: string }).code === uniqueViolation) return false;
      throw error;
    }
    return true;
  }
}

function nothingApplied(): Applied {
  return {
    newEndpoints: [],
    changedEndpoints: [],
    newUsers: [],
    changedUsers: [],
    refusals: [],
    accepted: new Set(),
    userIds: new Map(),
    stale: false,
  };
}

/** What was written, and what holds without it. */
function together(settled: Applied, written: Applied): Applied {
  return {
    ...written,
    refusals: [...settled.refusals, ...written.refusals],
    accepted: new Set([...settled.accepted, ...written.accepted]),
    userIds: new Map([...settled.userIds, ...written.userIds]),
  };
}

/** Was everything that is needed now foreseen (and locked) before? */
function covers(foreseen: Needs, now: Needs): boolean {
  for (const id of now.users) if (!foreseen.users.has(id)) return false;
  for (const id of now.gaining) if (!foreseen.gaining.has(id)) return false;
  for (const key of now.addresses.keys()) if (!foreseen.addresses.has(key)) return false;
  return true;
}
