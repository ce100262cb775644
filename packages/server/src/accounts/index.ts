export { fullScopes, type Principal, type Scopes } from './principal.ts';
