import sql, { type Sql } from 'sql-template-tag';

/** The endpoints that people registered, without members of segments that were imported without registering them. */
function endpointsOf(applicationId: string): Sql {
  return sql`endpoints where application_id = ${applicationId} and segment_id is null`;
}

export function selectEndpointTotals(applicationId: string): Sql {
  return sql`select count(*) as endpoints, count(distinct user_id) as users from ${endpointsOf(applicationId)}`;
}

/** A member of Demographic or Location, or the channel. Endpoints without it have the value null. */
export function demographicValue(
  member: { column: 'demographic' | 'location'; name: string } | { column: 'channel' },
): Sql {
  if (member.column === 'channel') return sql`channel`;
  return member.column === 'demographic'
    ? sql`demographic ->> ${member.name}`
    : sql`location ->> ${member.name}`;
}

export interface ValueRow {
  value: string | null;
  endpoints: number;
  users: number;
  /** Different values that there are, beyond the limit too. */
  different: number;
}

/** The most frequent values. */
export function selectValues(applicationId: string, value: Sql, limit: number): Sql {
  return sql`select value, count(*) as endpoints, count(distinct user_id) as users, count(*) over () as different
    from (select ${value} as value, user_id from ${endpointsOf(applicationId)}) as valued
    group by value order by 2 desc, 1 limit ${limit}`;
}

/** The most frequent values of a custom attribute. An endpoint with several counts at each of them. */
export function selectAttributeValues(applicationId: string, attribute: string, limit: number): Sql {
  return sql`select value, count(*) as endpoints, count(distinct user_id) as users, count(*) over () as different
    from (
      select distinct id, user_id, each.value from endpoints
      left join lateral jsonb_array_elements_text(attributes -> ${attribute}) as each (value) on true
      where application_id = ${applicationId} and segment_id is null
    ) as valued
    group by value order by 2 desc, 1 limit ${limit}`;
}
