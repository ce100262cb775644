import type { Database } from '../../platform/database.ts';
import { CallerError, notFound } from '../../platform/errors.ts';
import { randomBytes, uuidv7 } from '../../platform/ids.ts';
import type { Secrets } from '../../platform/secrets.ts';
import { recordAudit } from '../audit.ts';
import type { Principal } from '../principal.ts';
import {
  deleteIdentitySecret,
  insertIdentitySecret,
  lockKeyOwner,
  selectIdentitySecrets,
} from './publishable-key.sql.ts';
import { identityContext } from './publishable-keys.ts';

/** One of the secrets with which a customer's backend vouches for its users; a second one serves to change it. */
export interface IdentitySecret {
  id: string;
  createdAt: Date;
}

export interface IdentitySecrets {
  /** @returns the secret, which cannot be read again. @throws CallerError conflict when there are too many. */
  create(applicationId: string, by: Principal | 'system'): Promise<{ id: string; secret: string }>;
  list(applicationId: string): Promise<IdentitySecret[]>;
  /** Its proofs end within a second. @throws CallerError not_found */
  delete(applicationId: string, id: string, by: Principal | 'system'): Promise<void>;
}

const maxSecrets = 5;

export function createIdentitySecrets(options: { database: Database; secrets: Secrets }): IdentitySecrets {
  const { database, secrets } = options;
  return {
    async create(applicationId, by) {
      const id = uuidv7();
      const secret = `is_${randomBytes(32).toString('base64url')}`;
      const sealed = secrets.encrypt(secret, identityContext(id));
      await database.transaction(async (tx) => {
        await tx.query(lockKeyOwner(applicationId));
        const { rows } = await tx.query(
          insertIdentitySecret({ id, applicationId, secret: sealed }, maxSecrets),
        );
        if (!rows[0]) {
          throw new CallerError(
            'conflict',
            `An application has at most ${maxSecrets} identity secrets; delete one first`,
          );
        }
        const action = 'postrider:CreateIdentitySecret';
        await recordAudit(tx, { principal: by, action, applicationId, detail: { id } });
      });
      return { id, secret };
    },
    async list(applicationId) {
      const { rows } = await database.query<{ id: string; created_at: Date }>(
        selectIdentitySecrets(applicationId, maxSecrets),
      );
      return rows.map((row) => ({ id: row.id, createdAt: row.created_at }));
    },
    async delete(applicationId, id, by) {
      await database.transaction(async (tx) => {
        const { rows } = await tx.query(deleteIdentitySecret(applicationId, id));
        if (!rows[0]) throw notFound('Identity secret', id);
        const action = 'postrider:DeleteIdentitySecret';
        await recordAudit(tx, { principal: by, action, applicationId, detail: { id } });
      });
    },
  };
}
