import type { Queryable } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';
import { share } from './days.ts';
import {
  demographicValue,
  selectAttributeValues,
  selectEndpointTotals,
  selectValues,
  type ValueRow,
} from './demographics.sql.ts';

/** What endpoints can be told apart by, beside their custom attributes. */
export const demographicDimensions = {
  platform: { column: 'demographic', name: 'Platform' },
  platformVersion: { column: 'demographic', name: 'PlatformVersion' },
  appVersion: { column: 'demographic', name: 'AppVersion' },
  make: { column: 'demographic', name: 'Make' },
  model: { column: 'demographic', name: 'Model' },
  locale: { column: 'demographic', name: 'Locale' },
  country: { column: 'location', name: 'Country' },
  channel: { column: 'channel' },
} as const;
export type DemographicDimension = keyof typeof demographicDimensions;

/** Values answered at most. */
const maxValues = 1_000;

export interface DemographicValue {
  /** `null`: the endpoints that have none. */
  value: string | null;
  endpoints: number;
  /** Distinct users of these endpoints. */
  users: number;
  /** Of all endpoints, and of all users. */
  endpointShare: number | null;
  userShare: number | null;
}

export interface Demographics {
  endpoints: number;
  users: number;
  /** Different values, the lack of one included. */
  different: number;
  /** The most frequent ones first. */
  values: DemographicValue[];
}

/**
 * How endpoints and users divide by a dimension or a custom attribute, now: the only figures that come from the endpoints
 * themselves, not from the log.
 * @param by one of both; `limit` is 100 when absent, at most 1,000
 * @throws CallerError bad_request
 */
export async function demographics(
  db: Queryable,
  applicationId: string,
  by: { dimension?: DemographicDimension; attribute?: string; limit?: number },
): Promise<Demographics> {
  const limit = Math.max(1, Math.min(by.limit ?? 100, maxValues));
  const { rows: totals } = await db.query<{ endpoints: number; users: number }>(
    selectEndpointTotals(applicationId),
  );
  const { rows } = await db.query<ValueRow>(valuesBy(applicationId, by, limit));
  const { endpoints, users } = totals[0]!;
  return {
    endpoints,
    users,
    different: rows[0]?.different ?? 0,
    values: rows.map((row) => ({
      value: row.value,
      endpoints: row.endpoints,
      users: row.users,
      endpointShare: share(row.endpoints, endpoints),
      userShare: share(row.users, users),
    })),
  };
}

function valuesBy(
  applicationId: string,
  { dimension, attribute }: { dimension?: DemographicDimension; attribute?: string },
  limit: number,
) {
  if ((dimension === undefined) === (attribute === undefined)) {
    throw badMember('dimension', 'expected either dimension or attribute');
  }
  if (attribute !== undefined) {
    if (attribute === '' || attribute.length > 200 || attribute.includes('\0')) {
      throw badMember('attribute', 'expected the name of an attribute');
    }
    return selectAttributeValues(applicationId, attribute, limit);
  }
  if (!Object.hasOwn(demographicDimensions, dimension!)) {
    throw badMember('dimension', `expected one of ${Object.keys(demographicDimensions).join(', ')}`);
  }
  return selectValues(applicationId, demographicValue(demographicDimensions[dimension!]), limit);
}
