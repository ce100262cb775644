import type { EndpointResponse } from '@aws-sdk/client-pinpoint';
import { isoTime } from '../../platform/clock.ts';
import { type NameMap, nameMap } from './item.ts';

/** An endpoint as it is stored. Times are milliseconds since the epoch. */
export interface EndpointRow {
  id: string;
  /** The segment that alone sees this endpoint; null for a registered one. */
  segmentId: string | null;
  channel: string | null;
  address: string | null;
  optOut: string;
  status: string;
  cohort: number;
  userId: string | null;
  attributes: NameMap<string[]>;
  metrics: NameMap<number>;
  demographic: NameMap<string>;
  location: NameMap<string | number>;
  requestId: string | null;
  effectiveAt: number;
  createdAt: number;
}

/** An endpoint with its user's attributes: what rendering, policy and exports read. */
export interface Recipient extends EndpointRow {
  userAttributes: NameMap<string[]>;
}

/**
 * Ids of a segment's own members (imported with DefineSegment but without RegisterEndpoints) and of their users
 * carry the segment in front, so that they never meet those of registered endpoints.
 */
export function memberKey(segmentId: string, id: string): string {
  return `${segmentId}.${id}`;
}

function withoutPrefix(segmentId: string | null, id: string): string {
  return segmentId !== null && id.startsWith(`${segmentId}.`) ? id.slice(segmentId.length + 1) : id;
}

/** The user id as callers know it. */
export function shownUserId(row: Pick<EndpointRow, 'segmentId' | 'userId'>): string | null {
  return row.userId === null ? null : withoutPrefix(row.segmentId, row.userId);
}

/** The endpoint in the shape of the API; members that have no value are absent. */
export function toEndpointResponse(applicationId: string, recipient: Recipient): EndpointResponse {
  const userId = shownUserId(recipient);
  return {
    ...(recipient.address === null ? {} : { Address: recipient.address }),
    ApplicationId: applicationId,
    Attributes: recipient.attributes,
    ...(recipient.channel === null
      ? {}
      : { ChannelType: recipient.channel as NonNullable<EndpointResponse['ChannelType']> }),
    CohortId: String(recipient.cohort),
    CreationDate: isoTime(recipient.createdAt),
    Demographic: recipient.demographic,
    EffectiveDate: isoTime(recipient.effectiveAt),
    EndpointStatus: recipient.status,
    Id: withoutPrefix(recipient.segmentId, recipient.id),
    Location: recipient.location,
    Metrics: recipient.metrics,
    OptOut: recipient.optOut,
    ...(recipient.requestId === null ? {} : { RequestId: recipient.requestId }),
    ...(userId === null ? {} : { User: { UserAttributes: recipient.userAttributes, UserId: userId } }),
  };
}

/** A row with maps of its own, which may be changed. */
export function copyRow(row: EndpointRow): EndpointRow {
  return {
    ...row,
    attributes: nameMap(row.attributes),
    metrics: nameMap(row.metrics),
    demographic: nameMap(row.demographic),
    location: nameMap(row.location),
  };
}
