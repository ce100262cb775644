export { type AccessKeys, createAccessKeys, type NewAccessKey } from './access-keys.ts';
export {
  type Application,
  type ApplicationEraser,
  applicationExists,
  createApplication,
  deleteApplication,
  eraseDeletedApplications,
  getApplication,
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
export { type ApplicationSettings, getSettings, updateSettings } from './settings.ts';
export { addTags, deleteTagKeys, deleteTags, getTags, getTagsOf, type Tags } from './tags.ts';
export { createTokens, type Tokens } from './tokens.ts';
export { createWebhookSecrets, type WebhookSecret, type WebhookSecrets } from './webhook-secrets.ts';
