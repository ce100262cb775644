export interface CountColumns {
  rollupId: number[];
  measure: string[];
  day: number[];
  key: string[];
  value: number[];
}

export function addCounts(counts: CountColumns) {
  return {
    name: 'analytics-add-counts',
    text: `insert into analytics_counts as c (rollup_id, measure, day, key, value)
      select * from unnest($1::int[], $2::text[], $3::int[], $4::text[], $5::int8[])
      on conflict (rollup_id, measure, day, key) do update set value = c.value + excluded.value`,
    values: [counts.rollupId, counts.measure, counts.day, counts.key, counts.value],
  };
}
