import { type OperationModel, operationModels } from '../aws/model.ts';
import { operations } from './operations.ts';

/** Families as Pinpoint's reference has them, each with the paths that belong to it; the first that fits counts. */
const families: readonly (readonly [title: string, path: RegExp])[] = [
  ['Applications', /^\/v1\/apps(\/\{\w+\})?$/],
  ['Application settings', /\/settings$/],
  ['Channels', /\/channels/],
  ['In-app messages', /\/inappmessages$/],
  ['Endpoints, users, attributes', /\/(endpoints|users|attributes)\b(?!-)/],
  ['Events and event stream', /\/events(tream)?$/],
  ['Import and export jobs', /^\/v1\/apps\/\{\w+\}\/jobs/],
  ['Segments', /\/segments/],
  ['Campaigns', /\/campaigns/],
  ['Journeys', /\/journeys/],
  ['Templates', /^\/v1\/templates/],
  ['Messages and one-time passwords', /\/(messages|users-messages|otp|verify-otp)$/],
  ['Phone numbers', /^\/v1\/phone/],
  ['Application metrics', /\/kpis/],
  ['Recommenders', /^\/v1\/recommenders/],
  ['Tags', /^\/v1\/tags/],
];

/** The models of each family, in the order of `families`. */
function byFamily(): Map<string, OperationModel[]> {
  const grouped = new Map<string, OperationModel[]>(families.map(([title]) => [title, []]));
  for (const model of operationModels.values()) {
    const family = families.find(([, path]) => path.test(model.path));
    if (!family) throw new Error(`${model.name} (${model.path}) belongs to no family`);
    grouped.get(family[0])!.push(model);
  }
  return grouped;
}

const works = ({ name }: OperationModel) => operations[name] !== undefined;

/** How much of each family works, as a Markdown table: for the README. */
export function operationsSummary(): string {
  const rows = [...byFamily()].map(([title, models]) => {
    const count = models.filter(works).length;
    const built = count === models.length ? 'all' : count === 0 ? 'not yet' : `${count} of ${models.length}`;
    return `| ${title} | ${models.length} | ${built} |`;
  });
  const total = [...operationModels.values()].filter(works).length;
  return [
    '| family | operations | work |',
    '|---|---|---|',
    ...rows,
    `| **all** | **${operationModels.size}** | **${total}** |`,
    '',
  ].join('\n');
}

/** `docs/operations.md`: every operation, and whether it works. */
export function operationsReference(): string {
  const sections = [...byFamily()].map(([title, models]) =>
    [
      `## ${title}`,
      '',
      '| operation | request | works |',
      '|---|---|---|',
      ...models.map(
        (model) =>
          `| ${model.name} | \`${model.method} ${model.path}\` | ${works(model) ? 'yes' : 'not yet'} |`,
      ),
      '',
    ].join('\n'),
  );
  return [
    '# Operations of the Pinpoint API',
    '',
    '<!-- Made from the handlers by `npm run docs`. -->',
    '',
    'An operation that does not work yet answers `501` with `x-amzn-ErrorType: NotImplementedException`.',
    '',
    operationsSummary(),
    sections.join('\n'),
  ].join('\n');
}
