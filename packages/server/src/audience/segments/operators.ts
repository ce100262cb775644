/** The comparisons of the Pinpoint API (reference 3.3): of attributes, of endpoints and of events, and of numbers. */
export const attributeOperators = [
  'INCLUSIVE',
  'EXCLUSIVE',
  'CONTAINS',
  'BEFORE',
  'AFTER',
  'ON',
  'BETWEEN',
] as const;
export const metricOperators = [
  'GREATER_THAN',
  'GREATER_THAN_OR_EQUAL',
  'LESS_THAN',
  'LESS_THAN_OR_EQUAL',
  'EQUAL',
] as const;

export type AttributeOperator = (typeof attributeOperators)[number];
export type MetricOperator = (typeof metricOperators)[number];

/** `left operator right`. */
export function compareNumbers(left: number, operator: MetricOperator, right: number): boolean {
  switch (operator) {
    case 'GREATER_THAN':
      return left > right;
    case 'GREATER_THAN_OR_EQUAL':
      return left >= right;
    case 'LESS_THAN':
      return left < right;
    case 'LESS_THAN_OR_EQUAL':
      return left <= right;
    case 'EQUAL':
      return left === right;
  }
}

/** `is at least` 3. */
export const operatorWords: Record<MetricOperator, string> = {
  GREATER_THAN: 'greater than',
  GREATER_THAN_OR_EQUAL: 'at least',
  LESS_THAN: 'less than',
  LESS_THAN_OR_EQUAL: 'at most',
  EQUAL: 'equal to',
};
