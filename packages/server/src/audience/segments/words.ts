import { definitionLimits } from './criteria.ts';

/** What a comparison with values says when it is met, and when it is not. */
export function operation(operator: string, values: string[]): [met: string, unmet: string] {
  const wanted = shown(values);
  switch (operator) {
    case 'INCLUSIVE':
      return [`equals one of ${wanted}`, `equals none of ${wanted}`];
    case 'EXCLUSIVE':
      return [`equals none of ${wanted}`, `equals one of ${wanted}`];
    case 'CONTAINS':
      return [`contains one of ${wanted}`, `contains none of ${wanted}`];
    case 'BETWEEN':
      return [
        `has an instant from ${values[0]} to ${values[1]}`,
        `has no instant from ${values[0]} to ${values[1]}`,
      ];
    default:
      return [
        `has an instant ${operator.toLowerCase()} ${values[0]}`,
        `has no instant ${operator.toLowerCase()} ${values[0]}`,
      ];
  }
}

/** As JSON, cut where it becomes long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  const most = 2 * definitionLimits.valueCharacters;
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
