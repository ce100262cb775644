import * as Pinpoint from '@aws-sdk/client-pinpoint';
import { NormalizedSchema } from '@smithy/core/schema';
import type { OperationName } from './operation.ts';
import { compileStructure, type Member, type StructureShape } from './shapes.ts';

/** An operation as the SDK's own schemas describe it. */
export interface OperationModel {
  name: OperationName;
  method: string;
  /** As in the model: `/v1/apps/{ApplicationId}/campaigns`. */
  path: string;
  /** Status of success. */
  status: number;
  input: StructureShape;
  inputPayload: Member | undefined;
  /** The member whose content is the whole reply; undefined for an empty reply (204). */
  outputPayload: Member | undefined;
}

/** A static operation: [9, namespace, name, traits, input, output]. */
type StaticOperation = [9, string, OperationName, { http: [string, string, number] }, unknown, unknown];

function compileOperation(schema: StaticOperation): OperationModel {
  const [, , name, traits, input, output] = schema;
  const [method, path, status] = traits.http;
  const inputShape = compileStructure(normalize(input));
  const outputSchema = normalize(output);
  const outputShape = outputSchema.isUnitSchema() ? undefined : compileStructure(outputSchema);
  const outputPayload = outputShape?.members.find((member) => member.place === 'payload');
  return {
    name,
    method,
    path,
    status,
    input: inputShape,
    inputPayload: inputShape.members.find((member) => member.place === 'payload'),
    outputPayload,
  };
}

function normalize(schema: unknown): NormalizedSchema {
  return NormalizedSchema.of(schema as Parameters<typeof NormalizedSchema.of>[0]);
}

/** The shape of one of the SDK's structures (`PublicEndpoint$`), for handlers that read a part of a body themselves. */
export function shapeOf(schema: unknown): StructureShape {
  return compileStructure(normalize(schema));
}

function isOperation(value: unknown): value is StaticOperation {
  return Array.isArray(value) && value[0] === 9;
}

/** All operations of Pinpoint, by name, in the order of the alphabet. */
export const operationModels: ReadonlyMap<OperationName, OperationModel> = new Map(
  (Object.values(Pinpoint) as unknown[])
    .filter(isOperation)
    .map(compileOperation)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((model) => [model.name, model]),
);
