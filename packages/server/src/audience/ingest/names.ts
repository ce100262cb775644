import type { Transaction } from '../../platform/database.ts';
import { isStandardType } from './event.ts';
import { insertNames, lockNames, type NameKind, selectNames } from './ingest.sql.ts';
import type { EventLimits } from './limits.ts';
import type { PreparedEvent } from './prepare.ts';

/** What is known of the names in an application's events; in the database there may be more. */
interface KnownNames {
  type: Set<string>;
  attribute: Set<string>;
  metric: Set<string>;
}

/** Applications whose names one process remembers, and all of those names. */
const maxApplications = 1_000;
const maxNames = 300_000;

const nouns = { type: 'custom event types', attribute: 'attribute names', metric: 'metric names' } as const;

/**
 * The bound on the number of distinct names in an application's events. Names that are known cost a look into a set;
 * new ones are written with the events that brought them.
 */
export class EventNames {
  readonly #limits: EventLimits;
  readonly #known = new Map<string, KnownNames>();
  /** Names in `#known`. */
  #count = 0;

  constructor(limits: EventLimits) {
    this.#limits = limits;
  }

  /** Does the event have a name that this process has not seen committed? */
  isNew(applicationId: string, event: PreparedEvent): boolean {
    const known = this.#known.get(applicationId);
    if (!known) return true;
    if (!known.type.has(event.eventType)) return true;
    for (const name of event.attributeNames) if (!known.attribute.has(name)) return true;
    for (const name of event.metricNames) if (!known.metric.has(name)) return true;
    return false;
  }

  /**
   * Enters the names of these events, as far as they fit. The caller calls `remember` after the commit.
   * @returns what is known now, and why events are refused whose names do not fit
   */
  async enter(
    tx: Transaction,
    applicationId: string,
    events: readonly PreparedEvent[],
  ): Promise<{ known: KnownNames; refusals: Map<PreparedEvent, string> }> {
    await lockNames(tx, applicationId);
    const known: KnownNames = { type: new Set(), attribute: new Set(), metric: new Set() };
    for (const { kind, name } of await selectNames(tx, applicationId)) known[kind].add(name);
    const room: Record<NameKind, number> = {
      type: this.#limits.customTypes - [...known.type].filter((type) => !isStandardType(type)).length,
      attribute: this.#limits.attributeNames - known.attribute.size,
      metric: this.#limits.metricNames - known.metric.size,
    };
    const entered: { kind: NameKind; name: string }[] = [];
    const refusals = new Map<PreparedEvent, string>();
    for (const event of events) {
      const wanted = newNamesOf(event, known);
      const full = (Object.keys(nouns) as NameKind[]).find(
        (kind) => wanted.filter((one) => one.kind === kind && countsAs(one)).length > Math.max(room[kind], 0),
      );
      if (full) {
        refusals.set(event, this.#tooMany(full));
        continue;
      }
      for (const one of wanted) {
        known[one.kind].add(one.name);
        if (countsAs(one)) room[one.kind] -= 1;
        entered.push(one);
      }
    }
    if (entered.length > 0) await insertNames(tx, applicationId, entered);
    return { known, refusals };
  }

  /** What `enter` answered is committed. */
  remember(applicationId: string, known: KnownNames): void {
    this.#forget(applicationId);
    this.#known.set(applicationId, known);
    this.#count += countOf(known);
    for (const oldest of this.#known.keys()) {
      if (oldest === applicationId) return;
      if (this.#known.size <= maxApplications && this.#count <= maxNames) return;
      this.#forget(oldest);
    }
  }

  #forget(applicationId: string): void {
    const known = this.#known.get(applicationId);
    if (known) this.#count -= countOf(known);
    this.#known.delete(applicationId);
  }

  #tooMany(kind: NameKind): string {
    const limit = { type: 'customTypes', attribute: 'attributeNames', metric: 'metricNames' } as const;
    return `the application has its most of ${this.#limits[limit[kind]]} ${nouns[kind]} already`;
  }
}

function countOf({ type, attribute, metric }: KnownNames): number {
  return type.size + attribute.size + metric.size;
}

/** Standard types are not counted. */
function countsAs({ kind, name }: { kind: NameKind; name: string }): boolean {
  return kind !== 'type' || !isStandardType(name);
}

function newNamesOf(event: PreparedEvent, known: KnownNames): { kind: NameKind; name: string }[] {
  const names: { kind: NameKind; name: string }[] = [];
  if (!known.type.has(event.eventType)) names.push({ kind: 'type', name: event.eventType });
  for (const name of event.attributeNames)
    if (!known.attribute.has(name)) names.push({ kind: 'attribute', name });
  for (const name of event.metricNames) if (!known.metric.has(name)) names.push({ kind: 'metric', name });
  return names;
}

export type { KnownNames };
