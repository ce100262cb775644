export { type AccessKeys, createAccessKeys, type NewAccessKey } from './access-keys.ts';
export {
  type Application,
  type ApplicationEraser,
  applicationExists,
  createApplication,
  deleteApplication,
  eraseDeletedApplications,
  getApplication,
  holdApplication,
  listApplications,
} from './applications.ts';
export { type AuditEntry, listAudit, recordAudit } from './audit.ts';
export { authorize, authorizeBucket, visibleApplications } from './authorize.ts';
export {
  type Channel,
  deleteChannel,
  disabledChannels,
  getChannel,
  listChannels,
  putChannel,
} from './channels.ts';
export type { Credential } from './credentials.ts';
export { fullScopes, type Principal, principalName, type Scopes } from './principal.ts';
export {
  checkEndpointTokens,
  eraseEndpointCreations,
  expireEndpointCreations,
  hashCreationProof,
  isCreationAgain,
  makeEndpointToken,
  noteCreation,
  readEndpointTokens,
} from './publishable-keys/endpoint-token.ts';
export { provesIdentity } from './publishable-keys/identity-proof.ts';
export { createIdentitySecrets, type IdentitySecrets } from './publishable-keys/identity-secrets.ts';
export { allowsOrigin } from './publishable-keys/origin.ts';
export {
  type ActivePublishableKey,
  createPublishableKeys,
  isPublishableKeyId,
  type PublishableKey,
  type PublishableKeys,
  publishableActions,
} from './publishable-keys/publishable-keys.ts';
export { RateLimits } from './publishable-keys/rate-limits.ts';
export { type ApplicationSettings, getSettings, updateSettings } from './settings.ts';
export { addTags, deleteTagKeys, deleteTags, getTags, getTagsOf, type Tags } from './tags.ts';
export { createTokens, type Tokens } from './tokens.ts';
export { createWebhookSecrets, type WebhookSecret, type WebhookSecrets } from './webhook-secrets.ts';
