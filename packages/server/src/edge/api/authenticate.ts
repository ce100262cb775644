import type { FastifyReply, FastifyRequest } from 'fastify';
import { applicationExists, authorize, type Principal } from '../../accounts/index.ts';
import { CallerError, notFound } from '../../platform/errors.ts';
import { constantTimeEqual } from '../../platform/secrets.ts';
import type { ApiContext } from './context.ts';

/**
 * Finds out who calls: a bearer token (`Authorization: Bearer pr_…`), or an access key with its secret as Basic
 * credentials, which is what a browser and `curl -u` can do.
 * @throws CallerError unauthenticated
 */
async function principalOf(context: ApiContext, request: FastifyRequest): Promise<Principal> {
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ', 2);
  if (scheme.toLowerCase() === 'bearer') {
    const principal = await context.tokens.find(value);
    if (principal) return principal;
  } else if (scheme.toLowerCase() === 'basic') {
    const [id = '', ...rest] = Buffer.from(value, 'base64').toString().split(':');
    const key = await context.accessKeys.find(id);
    if (key && constantTimeEqual(rest.join(':'), key.secret)) return key.principal;
  }
  throw new CallerError(
    'unauthenticated',
    scheme
      ? 'The credentials are not valid: the token or access key is unknown, revoked, or its secret is wrong'
      : 'Credentials are missing: send "Authorization: Bearer <token>", or an access key and its secret as Basic credentials',
  );
}

/** The hook that stands before every handler: authenticates, authorises, and checks that the application exists. */
export function createGate(context: ApiContext) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { action } = request.routeOptions.config;
    if (!action) return;
    try {
      request.principal = await principalOf(context, request);
    } catch (error) {
      reply.header('www-authenticate', 'Basic realm="Postrider", charset="UTF-8"');
      throw error;
    }
    const { app } = (request.params ?? {}) as { app?: string };
    authorize(request.principal, action, app);
    if (app !== undefined && !(await applicationExists(context.database, app)))
      throw notFound('Application', app);
  };
}
