import { CallerError } from '../platform/errors.ts';
import type { Principal, Scopes } from './principal.ts';

/**
 * The one place that says who may do what.
 * @param action `mobiletargeting:GetApp`: service and operation.
 * @param applicationId the application that it is about; undefined for what belongs to none (templates, the list of
 *   applications). A principal that is bound to applications may only read such things.
 * @throws CallerError forbidden
 */
export function authorize(principal: Principal, action: string, applicationId?: string): void {
  const { scopes } = principal;
  if (!scopes.actions.some((pattern) => covers(pattern, action))) {
    throw forbidden(principal, `${action} is not among its actions`);
  }
  if (scopes.applications === '*') return;
  if (applicationId === undefined) {
    if (!/:(Get|List)/.test(action)) {
      throw forbidden(principal, `${action} needs a scope of all applications, since it concerns all`);
    }
  } else if (!scopes.applications.includes(applicationId)) {
    throw forbidden(principal, `application ${applicationId} is not in its scope`);
  }
}

/** Applications that the principal may see; undefined for all. */
export function visibleApplications(principal: Principal): string[] | undefined {
  const { applications } = principal.scopes;
  return applications === '*' ? undefined : applications;
}

/** @throws CallerError forbidden when an import or export names a bucket outside the principal's scope. */
export function authorizeBucket(principal: Principal, bucket: string): void {
  const { buckets } = principal.scopes;
  if (buckets !== '*' && !buckets.includes(bucket))
    throw forbidden(principal, `bucket ${bucket} is not in its scope`);
}

function covers(pattern: string, action: string): boolean {
  return pattern.endsWith('*') ? action.startsWith(pattern.slice(0, -1)) : pattern === action;
}

function forbidden(principal: Principal, reason: string): CallerError {
  const kinds = {
    access_key: 'Access key',
    token: 'Token',
    publishable_key: 'Publishable key',
    operator: 'Operator',
  };
  const kind = kinds[principal.kind];
  return new CallerError('forbidden', `${kind} ${principal.id} may not do this: ${reason}`);
}

const maxScopeEntries = 1000;

/** @throws CallerError bad_request when scopes from outside (command line, API) are malformed. */
export function checkScopes(scopes: Scopes): Scopes {
  const bad = (member: string, expected: string) =>
    new CallerError('bad_request', `${member}: expected ${expected}`, member);
  for (const member of ['applications', 'buckets'] as const) {
    const value = scopes[member];
    if (value !== '*' && !isNames(value)) throw bad(member, '"*" or a list of names');
  }
  const validAction = (action: string) => /^(\*|[\w-]+:(\*|\w+\*?))$/.test(action);
  if (!isNames(scopes.actions) || !scopes.actions.every(validAction)) {
    throw bad('actions', '"*", or actions such as mobiletargeting:GetApp or mobiletargeting:Get*');
  }
  return { applications: scopes.applications, actions: scopes.actions, buckets: scopes.buckets };
}

function isNames(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length <= maxScopeEntries &&
    value.every((name) => typeof name === 'string' && /^[\x20-\x7e]{1,200}$/.test(name))
  );
}
