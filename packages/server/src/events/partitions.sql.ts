import sql, { raw, type Sql } from 'sql-template-tag';

/** The tables that are cut by day; each has a column `day` and a default partition `<table>_default`. */
export const partitionedTables = ['events', 'messages', 'message_results', 'ingested_events'] as const;
export type PartitionedTable = (typeof partitionedTables)[number];

/** Those of them that are the installation's memory, kept for as long as the operator wants. */
export const retainedTables: readonly PartitionedTable[] = ['events', 'messages', 'message_results'];

/** `events_20261121`. Both parts come from a list or a date, never from outside. */
export function partitionName(table: PartitionedTable, day: string): string {
  return `${table}_${day.replaceAll('-', '')}`;
}

function defaultName(table: PartitionedTable): string {
  return `${table}_default`;
}

/** One process after the other makes or drops partitions of a table. */
export function lockPartitioning(table: PartitionedTable): Sql {
  return sql`select pg_advisory_xact_lock(hashtext(${`partitions of ${table}`}))`;
}

/** Days that have a partition, in order. */
export function selectPartitionDays(table: PartitionedTable): Sql {
  return sql`select to_char(to_date(right(c.relname, 8), 'YYYYMMDD'), 'YYYY-MM-DD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${table}::regclass and c.relname ~ ${`^${table}_[0-9]{8}$`}
    order by 1`;
}

/** Days of the rows in the default partition, of at most `limit` rows. */
export function selectDefaultDays(table: PartitionedTable, limit: number): Sql {
  return sql`select day, count(*)::int as rows
    from (select day from ${raw(defaultName(table))} limit ${limit}) sample group by day order by day`;
}

export function createDefaultPartition(table: PartitionedTable): string {
  return `create table if not exists ${defaultName(table)} partition of ${table} default`;
}

export function selectHasDefault(table: PartitionedTable): Sql {
  return sql`select to_regclass(${defaultName(table)}) is not null as found`;
}

export function lockDefaultPartition(table: PartitionedTable): string {
  return `lock table ${defaultName(table)} in access exclusive mode`;
}

/**
 * Made aside and attached, since `create table … partition of` would wait for every open transaction that has written to
 * the table, with all other writers behind it; attaching locks only the default partition.
 */
export function createPartition(table: PartitionedTable, day: string): string {
  return `create table ${partitionName(table, day)} (like ${table} including all)`;
}

export function moveFromDefault(table: PartitionedTable, day: string): Sql {
  return sql`with moved as (delete from ${raw(defaultName(table))} where day = ${day} returning *)
    insert into ${raw(partitionName(table, day))} select * from moved`;
}

export function attachPartition(table: PartitionedTable, day: string, nextDay: string): string {
  return `alter table ${table} attach partition ${partitionName(table, day)} for values from ('${day}') to ('${nextDay}')`;
}

/** Waits for every open transaction that has read or written the table; the children are left alone. */
export function lockTable(table: PartitionedTable): string {
  return `lock table only ${table} in access exclusive mode`;
}

export function dropPartition(table: PartitionedTable, day: string): string {
  return `drop table ${partitionName(table, day)}`;
}

/** The first subscriber that has not handled all of a day, and whether batches of the day wait for their number. */
export function selectUnreadOfDay(day: string): Sql {
  return sql`select
    exists (select from event_batches_unnumbered where day = ${day}) as unnumbered,
    (select s.name from log_subscribers s
      where exists (select from event_batches b where b.position > s.position and b.day = ${day})
      order by s.position limit 1) as subscriber`;
}

export function selectDefaultDaysBefore(table: PartitionedTable, day: string): Sql {
  return sql`select distinct day from ${raw(defaultName(table))} where day < ${day} order by day`;
}

export function deleteFromDefault(table: PartitionedTable, day: string, limit: number): Sql {
  const name = raw(defaultName(table));
  return sql`delete from ${name} where ctid = any (array(select ctid from ${name} where day = ${day} limit ${limit}))`;
}

/** Batch rows of days that are gone; what a subscriber has not finished stays. */
export function deleteOldBatches(beforeDay: string, keptDays: readonly string[], limit: number): Sql {
  return sql`delete from event_batches where position = any (array(
    select position from event_batches
    where day < ${beforeDay} and day <> all (${keptDays}::date[])
      and position <= coalesce((select min(position) from log_subscribers), ${Number.MAX_SAFE_INTEGER})
    order by position limit ${limit}))`;
}
