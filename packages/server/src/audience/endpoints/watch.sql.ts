import sql, { type Sql } from 'sql-template-tag';
import type { Watch } from './watch.ts';

export function deleteWatches(applicationId: string, watcher: string): Sql {
  return sql`delete from attribute_watches where application_id = ${applicationId} and watcher = ${watcher}`;
}

export function insertWatches(applicationId: string, watcher: string, watches: readonly Watch[]): Sql {
  return sql`
    insert into attribute_watches (application_id, kind, name, watcher)
    select ${applicationId}, kind, name, ${watcher}
    from unnest(${watches.map(({ kind }) => kind)}::text[], ${watches.map(({ name }) => name)}::text[]) as w(kind, name)
    on conflict do nothing`;
}

export function selectWatchedNames(applicationId: string) {
  return {
    name: 'attribute-watches-select',
    text: 'select distinct kind, name from attribute_watches where application_id = $1',
    values: [applicationId],
  };
}
