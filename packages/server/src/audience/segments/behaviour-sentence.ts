import type { BehaviourCondition, Counted, EventFilter, Window } from './behaviour.ts';
import type { SeenBehaviour } from './explain.ts';
import { type MetricOperator, operatorWords } from './operators.ts';
import { operation, shown } from './words.ts';

/**
 * `The endpoint did "purchase" 3 times in the last 7 days, last at 2026-11-21T10:15:30.000Z, and at least 2 are asked
 * for.`
 */
export function behaviourSentence(
  condition: BehaviourCondition,
  seen: SeenBehaviour,
  matches: boolean,
): string {
  const { counted, operator, value, excluded } = condition;
  const last = seen.last === null ? '' : `, last at ${seen.last}`;
  const wanted = `${excluded ? 'not ' : ''}${countWords[operator]} ${value}`;
  const link = matches ? 'and' : 'but';
  const kept = seen.incomplete ? ' The window begins before the first day that the log still has.' : '';
  return `${subject(counted)} ${deed(counted, seen.count)}${during(counted.window)}${last}, ${link} ${wanted} ${value === 1 ? 'is' : 'are'} asked for.${kept}`;
}

const countWords: Record<MetricOperator, string> = {
  GREATER_THAN: 'more than',
  GREATER_THAN_OR_EQUAL: 'at least',
  LESS_THAN: 'fewer than',
  LESS_THAN_OR_EQUAL: 'at most',
  EQUAL: 'exactly',
};

function subject({ scope }: Counted): string {
  return scope === 'USER' ? "The endpoint's user" : 'The endpoint';
}

function deed(counted: Counted, count: number): string {
  if (counted.of === 'events') {
    const types = counted.types.map((type) => JSON.stringify(type)).join(' or ');
    const filters = counted.filters.map(filterWords);
    const where = filters.length === 0 ? '' : ` (where ${filters.join(' and ')})`;
    if (count === 0) return `never did ${types}${where}`;
    return `did ${types}${where} ${count === 1 ? 'once' : `${count} times`}`;
  }
  const from = counted.campaignId === undefined ? 'any campaign' : `campaign ${counted.campaignId}`;
  const verb = { SENT: 'was sent', DELIVERED: 'received', OPENED: 'opened', CLICKED: 'clicked a link in' };
  const messages = `${count === 0 ? 'no' : count} message${count === 1 ? '' : 's'}`;
  return `${verb[counted.interaction]} ${messages} of ${from}`;
}

function filterWords(filter: EventFilter): string {
  if (filter.kind === 'metric') {
    return `metric ${shown(filter.name)} is ${operatorWords[filter.operator]} ${filter.value}`;
  }
  return `attribute ${shown(filter.name)} ${operation(filter.operator, filter.values)[0]}`;
}

function during(window: Window): string {
  switch (window.kind) {
    case 'always':
      return ' as far back as the log goes';
    case 'last':
      return ` in the last ${window.words}`;
    case 'between': {
      const from = window.start === undefined ? '' : ` from ${new Date(window.start).toISOString()}`;
      return window.end === undefined ? from : `${from} until ${new Date(window.end).toISOString()}`;
    }
  }
}
