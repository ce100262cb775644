import type { Queryable } from '../../platform/database.ts';
import { badMember, CallerError, notFound } from '../../platform/errors.ts';
import {
  type Criteria,
  type Group,
  readCriteria,
  type SegmentDefinition,
  type SourceReference,
  sourceReferences,
} from './criteria.ts';
import { selectDefinitions } from './segment.sql.ts';

/** Bounds of a segment with all that it is built upon, written out. */
export const resolvedLimits = { depth: 10, segments: 200, conditions: 1_000 } as const;

/** A segment with everything that it is built upon. */
export interface ResolvedSegment {
  /** Undefined for a definition that is not stored. */
  id: string | undefined;
  version: number | undefined;
  name: string | undefined;
  basis: { kind: 'imported'; endpoints: boolean; users: boolean } | Criteria<ResolvedSegment>;
}

/** What is evaluated: a stored segment (latest version unless given), or a definition that is not stored. */
export type SegmentTarget = { segmentId: string; version?: number } | { definition: SegmentDefinition };

export interface Resolution {
  root: ResolvedSegment;
  /** State of every stored segment in it (see segment.sql.ts): while these are the same, so is the resolution. */
  states: Map<string, string>;
}

interface StoredDefinition {
  id: string;
  wanted: number;
  version: number;
  type: 'DIMENSIONAL' | 'IMPORT';
  name: string | null;
  definition: SegmentDefinition;
  state: string;
}

interface Loaded extends StoredDefinition {
  criteria: Criteria | undefined;
}

/** Definitions by segment and version asked for (0: the latest). */
type Definitions = Map<string, Loaded>;

function definitionKey(id: string, version: number | undefined): string {
  return `${id}@${version ?? 0}`;
}

/**
 * Loads a segment and, level by level, what it is built upon.
 * @param replacing the segment that `target.definition` is going to be the newest version of, so that a reference to
 *   it shows as a cycle.
 * @throws CallerError not_found for the target; bad_request for a source that does not exist, cycles, and too much
 *   nesting.
 */
export async function resolveSegment(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  replacing?: string,
): Promise<Resolution> {
  const definitions: Definitions = new Map();
  let root: Loaded | undefined;
  let criteria: Criteria | undefined;
  if ('definition' in target) criteria = readCriteria(target.definition);
  else {
    const { segmentId: id, version } = target;
    // 0 means the latest to `load`, and PostgreSQL's int has a bound.
    if (version !== undefined && !isVersion(version)) throw missingTarget(id, version);
    await load(db, applicationId, [{ path: '$', id, version }], definitions);
    root = definitions.get(definitionKey(id, version));
    if (!root) throw missingTarget(id, version);
    criteria = root.criteria;
  }
  await loadSources(db, applicationId, criteria ? sourceReferences(criteria) : [], definitions);
  const budget = { segments: 0, conditions: 0 };
  const states = new Map([...definitions.values()].map(({ id, state }) => [id, state]));
  const build = (loaded: Loaded | undefined, own: Criteria | undefined, above: string[]): ResolvedSegment => {
    spend(budget, own, above.length - 1);
    return {
      id: loaded?.id,
      version: loaded?.version,
      name: loaded?.name ?? undefined,
      basis: own ? withSources(own, (source) => child(source, above)) : importedBasis(loaded!),
    };
  };
  const child = (source: SourceReference, above: string[]): ResolvedSegment => {
    const loaded = definitions.get(definitionKey(source.id, source.version));
    if (!loaded) throw missingSource(source);
    const latest = source.version === undefined;
    const key = latest && source.id === replacing ? 'new' : definitionKey(source.id, loaded.version);
    if (above.includes(key)) {
      throw badMember(source.path, `expected no cycle, but segment ${source.id} is built upon this segment`);
    }
    return build(loaded, loaded.criteria, [...above, key]);
  };
  const rootKey = root ? definitionKey(root.id, root.version) : 'new';
  return { root: build(root, criteria, [rootKey]), states };
}

function withSources(
  criteria: Criteria,
  resolve: (source: SourceReference) => ResolvedSegment,
): Criteria<ResolvedSegment> {
  if (criteria.kind === 'dimensions') return criteria;
  const groups = criteria.groups.map(
    (group): Group<ResolvedSegment> => ({ ...group, sources: group.sources.map(resolve) }),
  );
  return { ...criteria, groups };
}

function importedBasis(loaded: Loaded): ResolvedSegment['basis'] {
  return {
    kind: 'imported',
    endpoints: loaded.state.includes('e'),
    users: loaded.state.includes('u'),
  };
}

async function loadSources(
  db: Queryable,
  applicationId: string,
  first: SourceReference[],
  definitions: Definitions,
): Promise<void> {
  let references = first;
  // One round trip a level; a cycle ends because nothing is loaded twice.
  for (let level = 0; references.length > 0; level++) {
    if (level > resolvedLimits.depth) throw tooDeep(references[0]!.path);
    const loaded = await load(db, applicationId, references, definitions);
    references = loaded.flatMap(({ criteria }) => (criteria ? sourceReferences(criteria) : []));
    if (definitions.size > resolvedLimits.segments) throw tooMuch();
  }
}

/** Loads those of the references that `definitions` lacks, and returns them. */
async function load(
  db: Queryable,
  applicationId: string,
  references: { path: string; id: string; version?: number | undefined }[],
  definitions: Definitions,
): Promise<Loaded[]> {
  const wanted = new Map<string, { id: string; version: number }>();
  for (const { id, version } of references) {
    const key = definitionKey(id, version);
    if (!definitions.has(key)) wanted.set(key, { id, version: version ?? 0 });
  }
  if (wanted.size === 0) return [];
  const { rows } = await db.query<StoredDefinition>(
    selectDefinitions(
      applicationId,
      [...wanted.values()].map(({ id }) => id),
      [...wanted.values()].map(({ version }) => version),
    ),
  );
  return rows.map((row) => {
    const loaded = { ...row, criteria: row.type === 'IMPORT' ? undefined : readCriteria(row.definition) };
    definitions.set(definitionKey(row.id, row.wanted), loaded);
    return loaded;
  });
}

function spend(
  budget: { segments: number; conditions: number },
  criteria: Criteria | undefined,
  depth: number,
): void {
  if (depth > resolvedLimits.depth) throw tooDeep('$.SegmentGroups');
  budget.segments += 1;
  if (criteria?.kind === 'dimensions') budget.conditions += criteria.dimensions.conditions.length;
  else {
    for (const group of criteria?.groups ?? []) {
      for (const dimensions of group.dimensions) budget.conditions += dimensions.conditions.length;
    }
  }
  if (budget.segments > resolvedLimits.segments || budget.conditions > resolvedLimits.conditions) {
    throw tooMuch();
  }
}

/** Can there be a version of this number? */
export function isVersion(version: number): boolean {
  return Number.isInteger(version) && version >= 1 && version <= 2_147_483_647;
}

export function missingTarget(id: string, version: number | undefined): CallerError {
  return version === undefined ? notFound('Segment', id) : notFound(`Version ${version} of segment`, id);
}

function missingSource(source: SourceReference): CallerError {
  const what = source.version === undefined ? '' : ` with a version ${source.version}`;
  return badMember(source.path, `this application has no segment ${source.id}${what}`);
}

function tooDeep(path: string): CallerError {
  return badMember(path, `expected at most ${resolvedLimits.depth} levels of source segments`);
}

function tooMuch(): CallerError {
  return new CallerError(
    'bad_request',
    `$.SegmentGroups: expected at most ${resolvedLimits.segments} source segments and ${resolvedLimits.conditions} dimensions, those of the source segments included`,
    '$.SegmentGroups',
  );
}
