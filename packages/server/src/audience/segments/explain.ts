import sql, { join as list } from 'sql-template-tag';
import { systemClock } from '../../platform/clock.ts';
import type { Queryable } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import { countedColumns } from './behaviour.sql.ts';
import { type BehaviourCondition, exceedsRetention } from './behaviour.ts';
import { type CompiledSegment, type CompileOptions, compileSegment, type PredicateNode } from './compile.ts';
import type { Condition, Join } from './criteria.ts';
import { isTrue } from './expression.ts';
import { storedIds } from './membership.ts';
import type { SegmentTarget } from './resolve.ts';
import { sentence } from './sentence.ts';

/** Why an endpoint is in a segment or not: one node for the segment, each group, source, dimension and condition. */
export interface Explanation {
  kind: 'segment' | 'group' | 'sources' | 'dimensions' | 'condition';
  /** Where the node stands in the definition of the segment around it (`$.SegmentGroups.Groups[0]`). */
  path: string;
  matches: boolean;
  /** One sentence that says why. */
  because: string;
  /** How the parts decide; absent where there are none. */
  join?: Join;
  /** Of a stored segment. */
  segment?: { id: string; version: number; name?: string };
  /** What the endpoint has, where a condition looked; null when it has nothing there. */
  seen?: unknown;
  parts: Explanation[];
}

/** What the conditions look at, as it was read with the verdicts. */
export interface SeenEndpoint {
  id: string;
  segmentId: string | null;
  userId: string | null;
  channel: string | null;
  attributes: unknown;
  userAttributes: unknown;
  metrics: unknown;
  demographic: unknown;
  location: unknown;
  activeAt: Date | null;
  /** By criterion, what was counted. */
  behaviour: ReadonlyMap<BehaviourCondition, SeenBehaviour>;
}

/** What a criterion on behaviour has counted. */
export interface SeenBehaviour {
  count: number;
  /** When it was done last, in ISO 8601; null for never. */
  last: string | null;
  /** The window begins before the first day that the log still has. */
  incomplete?: true;
}

export interface ExplainOptions extends CompileOptions {
  /** POSTRIDER_RETENTION_DAYS, so that an explanation can say what the log does not have any more. */
  retentionDays?: number;
}

const mostExplained = 1_000;

/**
 * Why this endpoint is in the segment or not. Of a registered endpoint and an import's own member with the same id,
 * the one that is in it.
 * @throws CallerError not_found when there is no such segment or endpoint
 */
export async function explainSegment(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  endpointId: string,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const now = options.now ?? systemClock.now();
  const compiled = await compileSegment(db, applicationId, target, { now, fewEndpoints: true });
  const found = await explainCompiled(
    db,
    applicationId,
    compiled,
    storedIds(endpointId, compiled.importedIds),
    options.retentionDays,
  );
  const explanations = [...found.values()];
  const explanation = explanations.find(({ matches }) => matches) ?? found.get(endpointId) ?? explanations[0];
  if (!explanation) throw notFound('Endpoint', endpointId);
  return explanation;
}

/**
 * The same for up to 1000 endpoints in one statement, by the ids of their rows; those that do not exist are missing. The verdicts are the very
 * expressions that decide membership, each selected, so an explanation cannot disagree with it.
 */
export async function explainEndpoints(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  endpointIds: readonly string[],
  options: ExplainOptions = {},
): Promise<Map<string, Explanation>> {
  if (endpointIds.length > mostExplained) throw badMember('endpointIds', `expected at most ${mostExplained}`);
  const now = options.now ?? systemClock.now();
  const compiled = await compileSegment(db, applicationId, target, { now, fewEndpoints: true });
  return explainCompiled(db, applicationId, compiled, endpointIds, options.retentionDays);
}

async function explainCompiled(
  db: Queryable,
  applicationId: string,
  { from, tree, behaviour }: CompiledSegment,
  endpointIds: readonly string[],
  retentionDays = 0,
): Promise<Map<string, Explanation>> {
  const nodes = flatten(tree);
  const behaviours = [...new Set(nodes.flatMap((node) => behaviourOf(node) ?? []))];
  const counts =
    behaviours.length === 0
      ? sql`'[]'::jsonb`
      : sql`jsonb_build_array(${list(behaviours.map((condition) => countedColumns(condition, behaviour)))})`;
  const verdicts = list(
    nodes.map((node) => isTrue(node.expression)),
    ', ',
  );
  const { rows } = await db.query<
    Omit<SeenEndpoint, 'behaviour'> & { verdicts: boolean[]; counts: SeenBehaviour[] }
  >(
    sql`select e.id, e.segment_id as "segmentId", e.user_id as "userId", e.channel, e.attributes, e.metrics,
        e.demographic, e.location, array[${verdicts}] as verdicts, ${counts} as counts,
        (select u.attributes from users u where u.application_id = e.application_id and u.id = e.user_id) as "userAttributes",
        (select a.active_at from endpoint_activity a where a.application_id = e.application_id and a.endpoint_id = e.id) as "activeAt"
      from ${from} where e.application_id = ${applicationId} and e.id = any(${endpointIds}::text[])`,
  );
  return new Map(
    rows.map((row) => {
      const verdictOf = new Map(nodes.map((node, index) => [node, row.verdicts[index]!]));
      const behaviourOfEndpoint = new Map(
        behaviours.map((condition, index) => [
          condition,
          seenBehaviour(
            row.counts[index]!,
            exceedsRetention(condition.counted.window, behaviour.now, retentionDays),
          ),
        ]),
      );
      return [row.id, explain(tree, { ...row, behaviour: behaviourOfEndpoint }, verdictOf)];
    }),
  );
}

function behaviourOf({ what }: PredicateNode): BehaviourCondition | undefined {
  return what.kind === 'condition' && what.condition.kind === 'behaviour' ? what.condition : undefined;
}

function seenBehaviour({ count, last }: SeenBehaviour, isIncomplete: boolean): SeenBehaviour {
  return {
    count,
    last: last === null ? null : new Date(last).toISOString(),
    ...(isIncomplete && { incomplete: true }),
  };
}

function flatten(node: PredicateNode): PredicateNode[] {
  return [node, ...node.parts.flatMap(flatten)];
}

function explain(
  node: PredicateNode,
  endpoint: SeenEndpoint,
  verdictOf: Map<PredicateNode, boolean>,
): Explanation {
  const matches = verdictOf.get(node)!;
  const parts = node.parts.map((part) => explain(part, endpoint, verdictOf));
  const { what } = node;
  const seen = what.kind === 'condition' ? seenBy(what.condition, endpoint) : undefined;
  const segment = what.kind === 'segment' ? what.segment : undefined;
  return {
    kind: what.kind,
    path: node.path,
    matches,
    because: sentence(node, { matches, parts, seen, endpoint }),
    ...(parts.length > 0 && { join: node.join }),
    ...(segment?.id !== undefined && {
      segment: {
        id: segment.id,
        version: segment.version!,
        ...(segment.name !== undefined && { name: segment.name }),
      },
    }),
    ...(what.kind === 'condition' && { seen }),
    parts,
  };
}

/** What the endpoint has where the condition looks; null for nothing. */
function seenBy(condition: Condition, endpoint: SeenEndpoint): unknown {
  switch (condition.kind) {
    case 'attribute':
      return own(condition.of === 'user' ? endpoint.userAttributes : endpoint.attributes, condition.name);
    case 'metric':
      return own(endpoint.metrics, condition.name);
    case 'behaviour':
      return endpoint.behaviour.get(condition);
    case 'recency':
      return endpoint.activeAt?.toISOString() ?? null;
    case 'distance': {
      const latitude = own(endpoint.location, 'Latitude');
      const longitude = own(endpoint.location, 'Longitude');
      return latitude === null || longitude === null ? null : { Latitude: latitude, Longitude: longitude };
    }
    case 'field':
      if (condition.field === 'Channel') return endpoint.channel;
      if (condition.field === 'Country') return own(endpoint.location, 'Country');
      if (condition.field === 'DeviceType') return own(endpoint.attributes, 'DeviceType');
      return own(endpoint.demographic, condition.field);
  }
}

/** The member of a JSON object that is called so; what a prototype has does not count. */
function own(object: unknown, name: string): unknown {
  if (typeof object !== 'object' || object === null) return null;
  return Object.getOwnPropertyDescriptor(object, name)?.value ?? null;
}
