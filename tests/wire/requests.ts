import fc, { type Arbitrary } from 'fast-check';
import type { OperationModel } from '../../packages/server/src/edge/aws/model.ts';
import type { Member, Shape } from '../../packages/server/src/edge/aws/shapes.ts';
import type { RawRequest } from '../support/signed-request.ts';
import { chosenLabels, type KnownIds, sampleOf } from './samples.ts';

const awkwardTexts = [
  '',
  ' ',
  'a',
  'b',
  'c',
  '__proto__',
  'constructor',
  'toString',
  "'; drop table x; --",
  '%00',
  '../..',
  'a/b',
  '{{User.UserId}}',
  '{{#each a}}',
  'שלום ‮ abc',
  '🛒'.repeat(100),
  'x'.repeat(3000),
  'IMMEDIATE',
  '2026-11-21T08:00:00Z',
  'not a time',
  'ALL',
  'EMAIL',
  'user@example.com',
  'Name <user@example.com>',
  '+14255550182',
  's3://bucket/key',
  'arn:aws:iam::000000000000:role/x',
  '1',
  '-1',
  '99999999999999999999',
  'a\u0000b',
  '\ud800',
];

const text = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...awkwardTexts) },
  fc.string({ unit: 'grapheme' }),
);
/** Texts that a member asks for, so that right requests are met often; any other text comes too. */
const fitting: Record<string, string[]> = {
  Channel: ['SMS'],
  EffectiveDate: ['2026-11-21T08:00:00.000Z'],
  End: ['08:00'],
  EndpointStatus: ['ACTIVE', 'INACTIVE'],
  FromAddress: ['shop@example.com', 'Shop <shop@example.com>'],
  Identity: ['example.com'],
  Name: ['fuzz'],
  OptOut: ['ALL', 'NONE'],
  RoleArn: ['arn:aws:iam::000000000000:role/x'],
  S3Url: ['s3://bucket/key'],
  S3UrlPrefix: ['s3://bucket/prefix/'],
  Start: ['22:00'],
  StartTime: ['IMMEDIATE', '2030-01-01T00:00:00Z'],
};

function textOf(memberName: string): Arbitrary<string> {
  const fits = fitting[memberName];
  return fits ? fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...fits) }, text) : text;
}

const integer = fc.oneof(
  fc.constantFrom(0, 1, -1, 5, 100, 0x7fffffff, -0x80000000),
  fc.integer({ min: 0, max: 1000 }),
);
const double = fc.oneof(
  fc.constantFrom(0, -0, 0.1, -90, 180, 1e308, 5e-324, 1e15),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

/** Any JSON value that has the shape; optional members come and go. */
function valid(shape: Shape, name = ''): Arbitrary<unknown> {
  switch (shape.kind) {
    case 'structure':
      return fc
        .tuple(
          ...shape.members.map((member) =>
            member.required ? valid(member.shape, member.wireName) : optional(member),
          ),
        )
        .map((values) => asObject(shape.members.map((member, index) => [member.wireName, values[index]])));
    case 'list':
      return fc.array(valid(shape.element), { maxLength: 4 });
    case 'map': {
      const key = shape.keys ? fc.constantFrom(...shape.keys) : text;
      const value = shape.nullable
        ? fc.option(valid(shape.value), { nil: null, freq: 5 })
        : valid(shape.value);
      return fc.array(fc.tuple(key, value), { maxLength: 4 }).map(asObject);
    }
    case 'string':
      return shape.values ? fc.constantFrom(...shape.values) : textOf(name);
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return integer;
    case 'double':
      return double;
    case 'timestamp':
      return fc.constantFrom('2026-11-21T08:00:00Z', '2026-11-21T08:00:00.123+05:30', '0001-01-01T00:00:00Z');
    case 'blob':
      return fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes).toString('base64'));
    case 'document':
      return fc.jsonValue();
  }
}

function optional(member: Member): Arbitrary<unknown> {
  return fc.option(valid(member.shape, member.wireName), { nil: undefined, freq: 2 });
}

/** Without a prototype, so that `__proto__` becomes a member. */
function asObject(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, value] of entries) if (value !== undefined) object[key] = value;
  return object;
}

/** Right bodies: the sample as it is, with further members, or whatever the shape allows. */
function rightBody(shape: Shape, sample: unknown): Arbitrary<unknown> {
  if (sample === undefined) return valid(shape);
  const withMore = valid(shape).map((body) => ({ ...(body as object), ...(sample as object) }));
  return fc.oneof(fc.constant(sample), withMore, valid(shape));
}

/** A right body with one place of it replaced by a value of another kind, or text that is no JSON. */
function broken(right: Arbitrary<unknown>): Arbitrary<string> {
  const replaced = fc
    .tuple(right, fc.jsonValue({ maxDepth: 2 }), fc.nat())
    .map(([body, value, place]) => JSON.stringify(replacePlace(body, value, place)));
  const garbage = fc.constantFrom(
    '',
    'null',
    '[]',
    '{',
    '"x"',
    '{"a":1e999}',
    '{"__proto__":null}',
    '\ufeff{}',
  );
  return fc.oneof({ weight: 8, arbitrary: replaced }, garbage, fc.json());
}

function replacePlace(body: unknown, value: unknown, place: number): unknown {
  if (typeof body !== 'object' || body === null) return value;
  const keys = Object.keys(body);
  if (keys.length === 0) return value;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(body)
    ? [...body]
    : asObject(Object.entries(body));
  const key = keys[place % keys.length]!;
  const target = copy as Record<string, unknown>;
  target[key] = place % 3 === 0 ? value : replacePlace(target[key], value, Math.floor(place / 3));
  return copy;
}

function label(name: string, ids: KnownIds): Arbitrary<string> {
  const nonEmpty = text.filter((value) => value !== '' && value.isWellFormed() && value.length < 500);
  if (name === 'ResourceArn') {
    const arn = `arn:aws:mobiletargeting:us-east-1:000000000000:apps/${ids.get('ApplicationId')!.at(-1)!}`;
    return fc.oneof(
      { weight: 3, arbitrary: fc.constant(arn) },
      nonEmpty,
      nonEmpty.map((value) => `${arn}/${value}`),
    );
  }
  const known = [...(ids.get(name) ?? []).slice(-10), ...(chosenLabels[name] ?? [])];
  if (known.length === 0) return nonEmpty;
  return fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, nonEmpty);
}

function queryText(member: Member): Arbitrary<string | undefined> {
  const value =
    member.shape.kind === 'boolean'
      ? fc.constantFrom('true', 'false', 'yes')
      : member.wireName === 'page-size'
        ? fc.constantFrom('1', '2', '3', '10', '1000', '0', 'x', '-1', '1e3')
        : member.shape.kind === 'list'
          ? text
          : fc.oneof(text, fc.constantFrom('WyIiXQ', 'WzBd', 'bnVsbA'));
  return fc.option(
    value.filter((chosen) => chosen.isWellFormed()).map((chosen) => `${member.wireName}=${encode(chosen)}`),
    // A list is read from its beginning more often than from a token that chance made.
    { nil: undefined, freq: 2 },
  );
}

function encode(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Requests to an operation, derived from its model: half of them as it asks, half of them not. */
export function requestsTo(model: OperationModel, ids: KnownIds): Arbitrary<RawRequest> {
  const labels = model.input.members.filter((member) => member.place === 'label');
  const queries = model.input.members.filter((member) => member.place === 'query');
  const payload = model.inputPayload?.shape;
  const right = payload ? rightBody(payload, sampleOf(model.name, ids)) : fc.constant(undefined);
  const body: Arbitrary<string | undefined> = payload
    ? fc.oneof(
        right.map((value) => JSON.stringify(value)),
        broken(right),
      )
    : fc.constant(undefined);
  return fc
    .tuple(
      fc.tuple(...labels.map((member) => label(member.name, ids))),
      fc.tuple(...queries.map(queryText)),
      body,
    )
    .map(([labelValues, queryParts, bodyText]) => {
      const path = labels.reduce(
        (partial, member, index) => partial.replace(`{${member.name}}`, () => encode(labelValues[index]!)),
        model.path,
      );
      const query = queryParts.filter((part) => part !== undefined).join('&');
      const request: RawRequest = { method: model.method, path: query === '' ? path : `${path}?${query}` };
      if (bodyText !== undefined) request.body = bodyText;
      return request;
    });
}
