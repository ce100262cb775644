/** What a principal may touch. `buckets` bounds the object-store buckets that imports and exports may name. */
export interface Scopes {
  applications: '*' | string[];
  /** `*`, an action (`mobiletargeting:GetApp`), or a prefix of one (`mobiletargeting:Get*`). */
  actions: string[];
  buckets: '*' | string[];
}

export const fullScopes: Scopes = { applications: '*', actions: ['*'], buckets: '*' };

/**
 * Who calls: an access key (signed requests), a bearer token, a publishable key (web pages and apps), or an operator
 * (console and command line).
 */
export interface Principal {
  kind: 'access_key' | 'token' | 'publishable_key' | 'operator';
  id: string;
  name: string;
  scopes: Scopes;
}

/** As it stands in audit entries and "modified by": `access_key:PRAK…`. */
export function principalName(principal: Principal): string {
  return `${principal.kind}:${principal.id}`;
}
