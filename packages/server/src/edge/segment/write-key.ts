import {
  type ActivePublishableKey,
  authorize,
  isPublishableKeyId,
  type Principal,
  type Tokens,
} from '../../accounts/index.ts';
import { CallerError } from '../../platform/errors.ts';
import type { PublishableDoor } from '../publishable/door.ts';

/** Who sends, and into which application. */
export type Sender =
  | { kind: 'publishable'; key: ActivePublishableKey; applicationId: string }
  | { kind: 'secret'; principal: Principal; applicationId: string };

/**
 * A write key is a publishable key, or a token of the own API that is bound to one application.
 * @throws CallerError unauthenticated, forbidden
 */
export async function findSender(
  writeKey: string,
  options: { door: PublishableDoor; tokens: Pick<Tokens, 'find'> },
): Promise<Sender> {
  if (isPublishableKeyId(writeKey)) {
    const key = await options.door.find(writeKey);
    if (key) {
      authorize(key.principal, action, key.applicationId);
      return { kind: 'publishable', key, applicationId: key.applicationId };
    }
  } else {
    const principal = await options.tokens.find(writeKey);
    if (principal) {
      const applicationId = onlyApplication(principal);
      authorize(principal, action, applicationId);
      return { kind: 'secret', principal, applicationId };
    }
  }
  throw new CallerError('unauthenticated', 'The write key is unknown here or was revoked');
}

const action = 'mobiletargeting:PutEvents';

function onlyApplication({ scopes }: Principal): string {
  const { applications } = scopes;
  if (applications !== '*' && applications.length === 1) return applications[0]!;
  throw new CallerError(
    'forbidden',
    'A token that is used as write key must be bound to one application, which tells where the data goes',
  );
}
