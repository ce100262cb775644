import type { Database } from '../../packages/server/src/platform/database.ts';

/** A client's event as it stands in the log. */
export interface RawEvent {
  endpoint: string;
  type: string;
  at: number;
  /** When it arrived: the time in the id of its batch. */
  arrived: number;
  id: string;
  user: string | undefined;
  session: string | undefined;
  attributes: ReadonlyMap<string, string>;
  metrics: ReadonlyMap<string, number>;
}

/** A message with all that the log says of it. */
export interface RawMessage {
  id: string;
  at: number;
  channel: string;
  kind: string;
  campaign: string | undefined;
  dispatch: string;
  treatment: string;
  recipient: string;
  endpoint: string | undefined;
  facts: { type: string; at: number; bounce: unknown; code: unknown; machine: boolean }[];
}

/** Everything about one application, as the tables of facts have it. */
export interface Raw {
  events: RawEvent[];
  messages: RawMessage[];
  /** Activity by `dispatch treatment`. */
  activities: Map<string, string>;
  /** Registered endpoints as they are now. */
  endpoints: Map<string, { plan: string[]; platform: string | undefined; user: string | undefined }>;
}

type Json = Record<string, unknown>;

/** Reads rows, and nothing but rows: no function of the product's has a hand in it. */
export async function readRaw(database: Database, app: string): Promise<Raw> {
  const facts = await database.query<{
    type: string;
    at: string;
    batch: string;
    endpoint: string | null;
    message: string | null;
    payload: Json;
  }>(
    `select type, (extract(epoch from occurred_at) * 1000)::text as at, batch_id::text as batch, endpoint_id as endpoint,
       message_id::text as message, payload from events where application_id = $1`,
    [app],
  );
  const messages = await database.query<Record<string, string | null>>(
    `select m.id::text as id, m.channel, m.address, m.endpoint_id as endpoint, m.treatment_id as treatment,
       d.id::text as dispatch, d.kind, d.campaign_id as campaign
     from messages m join dispatches d on d.id = m.dispatch_id where m.application_id = $1`,
    [app],
  );
  const activities = await database.query<Record<string, string>>(
    'select id, dispatch_id::text as dispatch, treatment_id as treatment from campaign_activities where application_id = $1',
    [app],
  );
  const endpoints = await database.query<{
    id: string;
    user: string | null;
    attributes: Json;
    demographic: Json;
  }>(
    'select id, user_id as user, attributes, demographic from endpoints where application_id = $1 and segment_id is null',
    [app],
  );
  const factsOf = Map.groupBy(facts.rows, ({ message }) => message);
  return {
    events: facts.rows.filter(({ type }) => type.startsWith('event.')).map(eventOf),
    messages: messages.rows.map(
      (row): RawMessage => ({
        id: row.id!,
        at: timeIn(row.id!),
        channel: row.channel!,
        kind: row.kind!,
        campaign: row.campaign ?? undefined,
        dispatch: row.dispatch!,
        treatment: row.treatment ?? '0',
        recipient:
          row.endpoint == null ? `to ${row.channel} ${row.address!.toLowerCase()}` : `at ${row.endpoint}`,
        endpoint: row.endpoint ?? undefined,
        facts: (factsOf.get(row.id!) ?? []).map(({ type, at, payload }) => ({
          type: type.slice('message.'.length),
          at: Number(at),
          bounce: payload.bounce,
          code: payload.code,
          machine: payload.machine === true,
        })),
      }),
    ),
    activities: new Map(
      activities.rows.map(({ id, dispatch, treatment }) => [`${dispatch} ${treatment}`, id!]),
    ),
    endpoints: new Map(
      endpoints.rows.map(({ id, user, attributes, demographic }) => [
        id,
        {
          plan: (attributes.plan as string[] | undefined) ?? [],
          platform: demographic.Platform as string | undefined,
          user: user ?? undefined,
        },
      ]),
    ),
  };
}

function eventOf(row: {
  type: string;
  at: string;
  batch: string;
  endpoint: string | null;
  payload: Json;
}): RawEvent {
  const { payload } = row;
  return {
    endpoint: row.endpoint!,
    type: row.type.slice('event.'.length),
    at: Number(row.at),
    arrived: timeIn(row.batch),
    id: payload.id as string,
    user: payload.userId as string | undefined,
    session: (payload.session as { id: string } | undefined)?.id,
    attributes: new Map(Object.entries((payload.attributes as Record<string, string> | undefined) ?? {})),
    metrics: new Map(Object.entries((payload.metrics as Record<string, number> | undefined) ?? {})),
  };
}

/** RFC 9562: the first 48 bits are milliseconds. */
function timeIn(uuid: string): number {
  return Number(BigInt(`0x${uuid.replaceAll('-', '').slice(0, 12)}`));
}
