import type { NormalizedSchema } from '@smithy/core/schema';
import { enumValues } from './enums.ts';

/** The SDK's schemas, compiled once into what parsing and writing need at hand. */
export type Shape =
  | StructureShape
  | { kind: 'list'; element: Shape; singleAllowed: boolean }
  | { kind: 'map'; value: Shape; keys: readonly string[] | undefined; nullable: boolean }
  | { kind: 'string'; values: readonly string[] | undefined }
  | { kind: 'boolean' | 'integer' | 'double' | 'timestamp' | 'blob' }
  /** Any JSON value that the database can hold; the handler reads it. */
  | { kind: 'document' };

export interface StructureShape {
  kind: 'structure';
  name: string;
  members: Member[];
}

export interface Member {
  name: string;
  /** The member's name in JSON, or the query parameter's. */
  wireName: string;
  place: 'body' | 'label' | 'query' | 'payload';
  required: boolean;
  shape: Shape;
}

/** The schemas know only "number"; these are the ones that may have a fraction (botocore's model says which). */
const doubles = new Set([
  'EndpointBatchItem.Metrics',
  'EndpointLocation.Latitude',
  'EndpointLocation.Longitude',
  'EndpointRequest.Metrics',
  'EndpointResponse.Metrics',
  'Event.Metrics',
  'GPSCoordinates.Latitude',
  'GPSCoordinates.Longitude',
  'GPSPointDimension.RangeInKilometers',
  'MetricDimension.Value',
  'PublicEndpoint.Metrics',
]);

/**
 * Maps in which a null value means "delete this one", so it stays null. The maps of lists among them also take a
 * bare string for a list of one, which guides and importers write.
 */
export const nullableMaps: ReadonlySet<string> = new Set([
  'EndpointBatchItem.Attributes',
  'EndpointBatchItem.Metrics',
  'EndpointRequest.Attributes',
  'EndpointRequest.Metrics',
  'EndpointUser.UserAttributes',
  'PublicEndpoint.Attributes',
  'PublicEndpoint.Metrics',
]);

/** Optional members of ours in Pinpoint's structures. Only raw JSON has them: SDKs neither send nor show them. */
const extensions: ReadonlyMap<string, readonly string[]> = new Map([
  ['SegmentBehaviors', ['Campaigns', 'Events']],
]);

const structures = new Map<string, StructureShape>();

/** Compiles a structure; structures are shared by name. */
export function compileStructure(schema: NormalizedSchema): StructureShape {
  const name = schema.getName() ?? '';
  const known = structures.get(name);
  if (known) return known;
  const structure: StructureShape = { kind: 'structure', name, members: [] };
  structures.set(name, structure);
  // A static structure is [3, namespace, name, traits, member names, member schemas, number of required members];
  // the required ones come first.
  const requiredCount = (schema.getSchema() as unknown as unknown[])[6] ?? 0;
  for (const [memberName, memberSchema] of schema.structIterator()) {
    const traits = memberSchema.getMergedTraits();
    const place = traits.httpLabel
      ? 'label'
      : traits.httpQuery
        ? 'query'
        : traits.httpPayload
          ? 'payload'
          : 'body';
    structure.members.push({
      name: memberName,
      wireName: traits.httpQuery ?? traits.jsonName ?? memberName,
      place,
      required: structure.members.length < (requiredCount as number),
      shape: compile(memberSchema, `${name}.${memberName}`),
    });
  }
  for (const extension of extensions.get(name) ?? []) {
    const shape = { kind: 'document' } as const;
    structure.members.push({ name: extension, wireName: extension, place: 'body', required: false, shape });
  }
  return structure;
}

function compile(schema: NormalizedSchema, path: string): Shape {
  if (schema.isStructSchema()) return compileStructure(schema);
  if (schema.isListSchema()) {
    return { kind: 'list', element: compile(schema.getValueSchema(), path), singleAllowed: false };
  }
  if (schema.isMapSchema()) {
    const value = compile(schema.getValueSchema(), path);
    const nullable = nullableMaps.has(path);
    return {
      kind: 'map',
      value: nullable && value.kind === 'list' ? { ...value, singleAllowed: true } : value,
      keys: enumValues.get(path),
      nullable,
    };
  }
  if (schema.isBlobSchema()) return { kind: 'blob' };
  if (schema.isTimestampSchema()) return { kind: 'timestamp' };
  if (schema.isBooleanSchema()) return { kind: 'boolean' };
  if (schema.isNumericSchema()) return { kind: doubles.has(path) ? 'double' : 'integer' };
  if (schema.isStringSchema()) return { kind: 'string', values: enumValues.get(path) };
  throw new Error(`${path} has a type that the wire engine does not know`);
}
