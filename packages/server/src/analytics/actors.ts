import type { Transaction } from '../platform/database.ts';
import {
  type ActivityCells,
  addDifference,
  type Cells,
  createActivityCells,
  hasDay,
  mergeDays,
  readDays,
  writeDays,
} from './active-days.ts';
import {
  type ActorNames,
  addActivity,
  addCohorts,
  type CellColumns,
  drawActorIds,
  idsOfADraw,
  type StoredActor,
  selectActors,
  upsertActors,
} from './actor.sql.ts';
import type { ActorKind, RollupSlice, SeenActor } from './slice.ts';

/**
 * Writes the days on which actors were active, and the difference that they make to the figures of activity and
 * cohorts. Gives each actor its id.
 */
export async function writeActors(tx: Transaction, slices: readonly RollupSlice[]): Promise<void> {
  const seen: { rollupId: number; actor: SeenActor }[] = [];
  const names: ActorNames = { rollupId: [], kind: [], name: [] };
  for (const { rollupId, actors } of slices) {
    for (const actor of actors.values()) {
      seen.push({ rollupId, actor });
      names.rollupId.push(rollupId);
      names.kind.push(actor.kind);
      names.name.push(actor.name);
    }
  }
  if (seen.length === 0) return;
  const { rows } = await tx.query<StoredActor>(selectActors(names));
  const stored = new Map(rows.map((row) => [row.place, row]));
  const draw = await drawIds(tx, seen.length - rows.length);
  const cells = new Map<number, Record<ActorKind, ActivityCells>>();
  for (const { rollupId } of slices) {
    cells.set(rollupId, { e: createActivityCells(), u: createActivityCells() });
  }
  const changed = {
    rollupId: [] as number[],
    kind: [] as string[],
    name: [] as string[],
    id: [] as number[],
    firstDay: [] as number[],
    days: [] as string[],
  };
  for (const [index, { rollupId, actor }] of seen.entries()) {
    const before = stored.get(index + 1);
    actor.id = before?.id ?? draw();
    if (before && [...actor.days].every((day) => hasDay(before.firstDay, before.days, day))) continue;
    const old = before ? readDays(before.firstDay, before.days) : [];
    const now = mergeDays(old, actor.days);
    addDifference(cells.get(rollupId)![actor.kind], old, now);
    changed.rollupId.push(rollupId);
    changed.kind.push(actor.kind);
    changed.name.push(actor.name);
    changed.id.push(actor.id);
    changed.firstDay.push(now[0]!);
    changed.days.push(writeDays(now).toString('hex'));
  }
  if (changed.id.length === 0) return;
  await tx.query(upsertActors(changed));
  await writeCells(tx, cells);
}

/** Hands out `count` new ids. */
async function drawIds(tx: Transaction, count: number): Promise<() => number> {
  if (count === 0) return () => 0;
  const { rows } = await tx.query<{ id: number }>(drawActorIds(Math.ceil(count / idsOfADraw)));
  let drawn = 0;
  return () => {
    const id = rows[Math.floor(drawn / idsOfADraw)]!.id + (drawn % idsOfADraw);
    drawn++;
    return id;
  };
}

async function writeCells(
  tx: Transaction,
  cells: ReadonlyMap<number, Record<ActorKind, ActivityCells>>,
): Promise<void> {
  const activity = columns();
  const cohorts = { ...columns(), figure: [] as string[] };
  for (const [rollupId, kinds] of cells) {
    for (const kind of ['e', 'u'] as const) {
      append(activity, rollupId, kind, kinds[kind].activity);
      const { days, returns, weeks } = kinds[kind];
      for (const [figure, some] of [
        ['d', days],
        ['r', returns],
        ['w', weeks],
      ] as const) {
        append(cohorts, rollupId, kind, some);
        while (cohorts.figure.length < cohorts.value.length) cohorts.figure.push(figure);
      }
    }
  }
  if (activity.value.length > 0) await tx.query(addActivity(activity));
  if (cohorts.value.length > 0) await tx.query(addCohorts(cohorts));
}

function columns(): CellColumns {
  return { rollupId: [], kind: [], first: [], second: [], value: [] };
}

function append(to: CellColumns, rollupId: number, kind: string, cells: Cells): void {
  for (const { first, second, value } of cells.entries()) {
    to.rollupId.push(rollupId);
    to.kind.push(kind);
    to.first.push(first);
    to.second.push(second);
    to.value.push(value);
  }
}
