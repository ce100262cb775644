import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Does `proof` vouch for this user? A customer's backend makes it: HMAC-SHA256 of the user id (UTF-8) with the
 * identity secret (the text as it was shown), in hex. Takes the same time wherever a wrong one differs.
 */
export function provesIdentity(secrets: readonly string[], userId: string, proof: string): boolean {
  if (!/^[0-9a-f]{64}$/i.test(proof)) return false;
  const given = Buffer.from(proof, 'hex');
  let proven = false;
  for (const secret of secrets) {
    const expected = createHmac('sha256', secret).update(userId, 'utf8').digest();
    if (timingSafeEqual(given, expected)) proven = true;
  }
  return proven;
}
