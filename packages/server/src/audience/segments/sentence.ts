import { behaviourSentence } from './behaviour-sentence.ts';
import type { PredicateNode } from './compile.ts';
import type { Condition, Duration, EndpointCondition } from './criteria.ts';
import type { Explanation, SeenBehaviour, SeenEndpoint } from './explain.ts';
import { operatorWords } from './operators.ts';
import { operation, shown } from './words.ts';

interface Verdict {
  matches: boolean;
  parts: Explanation[];
  seen: unknown;
  endpoint: SeenEndpoint;
}

/** One sentence in plain words that says why a node matches or not. */
export function sentence(node: PredicateNode, verdict: Verdict): string {
  const { what } = node;
  switch (what.kind) {
    case 'condition':
      return conditionSentence(what.condition, verdict);
    case 'segment':
      return segmentSentence(node, verdict);
    case 'sources':
      return node.parts.length === 0
        ? wholeApplication(verdict, 'No source segments are named')
        : joined(node, verdict, 'source segments');
    case 'dimensions':
      return node.parts.length === 0 ? 'No criteria are given.' : joined(node, verdict, 'criteria');
    case 'group':
      return joined(node, verdict, 'parts of the group');
  }
}

function segmentSentence(node: PredicateNode, verdict: Verdict): string {
  const { matches, parts, endpoint } = verdict;
  const segment = node.what.kind === 'segment' ? node.what.segment : undefined;
  if (segment?.basis.kind === 'imported') {
    if (matches) return 'The endpoint, or its user, is among the imported members.';
    return hidden(endpoint) && endpoint.segmentId !== segment.id
      ? `The endpoint is known only to the imported segment ${endpoint.segmentId}.`
      : 'Neither the endpoint nor its user is among the imported members.';
  }
  if (parts.length === 0) return wholeApplication(verdict, 'No criteria are given');
  const decided = decides(node, parts);
  // The parts are met and it is no member all the same: it was never registered with the application.
  if (!matches && decided) return notRegistered(endpoint);
  return joined(node, verdict, segment?.basis.kind === 'groups' ? 'groups' : 'criteria');
}

function wholeApplication({ matches, endpoint }: Verdict, why: string): string {
  return matches ? `${why}, so every endpoint of the application counts.` : notRegistered(endpoint);
}

function notRegistered(endpoint: SeenEndpoint): string {
  return `The endpoint was imported without being registered: only the segment ${endpoint.segmentId} and those built upon it see it.`;
}

function hidden(endpoint: SeenEndpoint): boolean {
  return endpoint.segmentId !== null;
}

function decides({ join }: PredicateNode, parts: Explanation[]): boolean {
  if (join === 'ALL') return parts.every(({ matches }) => matches);
  return parts.some(({ matches }) => matches) === (join === 'ANY');
}

function joined(node: PredicateNode, { matches, parts, endpoint }: Verdict, noun: string): string {
  if (!matches && hidden(endpoint) && decides(node, parts)) return notRegistered(endpoint);
  const met = parts.filter((part) => part.matches).length;
  const asked = { ALL: 'all must be met', ANY: 'one is enough', NONE: 'none may be met' }[node.join];
  const count = `${met} of ${parts.length} ${noun} ${met === 1 ? 'is' : 'are'} met`;
  return parts.length === 1 && node.join !== 'NONE' ? parts[0]!.because : `${count}, and ${asked}.`;
}

const within: Record<Duration, string> = {
  HR_24: '24 hours',
  DAY_7: '7 days',
  DAY_14: '14 days',
  DAY_30: '30 days',
};

function conditionSentence(condition: Condition, { matches, seen }: Verdict): string {
  if (condition.kind === 'behaviour') return behaviourSentence(condition, seen as SeenBehaviour, matches);
  const [subject, rule, not] = phrase(condition);
  const has = seen === null ? 'is not set' : `is ${shown(seen)}`;
  const verdict = `${subject} ${has}`;
  if (condition.kind === 'recency') {
    return seen === null
      ? 'The endpoint was never seen active, which counts as inactive.'
      : `The endpoint was last active at ${String(seen)}, which is ${matches === (condition.recency === 'ACTIVE') ? 'within' : 'not within'} the last ${within[condition.duration]}.`;
  }
  return `${verdict}, which ${matches ? rule : not}.`;
}

/** What is looked at, and what it says when the condition is met and when it is not. */
function phrase(condition: EndpointCondition): [subject: string, met: string, unmet: string] {
  switch (condition.kind) {
    case 'attribute': {
      const owner = condition.of === 'user' ? 'The user attribute' : 'The attribute';
      return [`${owner} ${shown(condition.name)}`, ...operation(condition.operator, condition.values)];
    }
    case 'metric': {
      const wanted = `${operatorWords[condition.operator]} ${condition.value}`;
      return [`The metric ${shown(condition.name)}`, `is ${wanted}`, `is not ${wanted}`];
    }
    case 'field':
      return [
        condition.field === 'Country' ? 'The country' : `The member ${condition.field}`,
        ...operation(condition.operator, condition.values),
      ];
    case 'distance': {
      const wanted = `within ${condition.rangeKm} km of ${condition.latitude}, ${condition.longitude}`;
      return ['The location', `is ${wanted}`, `is not ${wanted}`];
    }
    case 'recency':
      return ['', '', ''];
  }
}
