import type {
  AccessKeys,
  IdentitySecrets,
  Principal,
  PublishableKeys,
  Tokens,
  WebhookSecrets,
} from '../../accounts/index.ts';
import type { InAppMessages } from '../../engagement/index.ts';
import type { Pipeline, Provider, ProviderAccounts, ProviderContext } from '../../messaging/index.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Config } from '../../platform/config.ts';
import type { Database } from '../../platform/database.ts';
import type { Log } from '../../platform/log.ts';
import type { ObjectStore } from '../../platform/objects.ts';
import type { Streams } from '../../streams/index.ts';

/** What the routes use; made once by the api role. */
export interface ApiContext {
  database: Database;
  log: Log;
  config: Config;
  accessKeys: AccessKeys;
  tokens: Tokens;
  publishableKeys: PublishableKeys;
  identitySecrets: IdentitySecrets;
  objects: ObjectStore;
  pipeline: Pipeline;
  providers: readonly Provider[];
  providerAccounts: ProviderAccounts;
  providerContext: ProviderContext;
  streams: Streams;
  clock: Clock;
  webhookSecrets: WebhookSecrets;
  inApp: InAppMessages;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set before every handler but those of public routes. */
    principal: Principal;
  }
  interface FastifyContextConfig {
    /** What the caller must be allowed to do, as in scopes (`postrider:GetMessage`); absent on public routes. */
    action?: string;
  }
}
