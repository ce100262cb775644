import { badMember } from '../../platform/errors.ts';

const maxOrigins = 100;

/**
 * Origins of web pages as a key has them: null for all of them.
 * @throws CallerError bad_request unless each is `*` or an origin as browsers write it (`https://app.example.com`).
 */
export function checkOrigins(origins: readonly string[]): string[] | null {
  if (origins.length === 0 || origins.length > maxOrigins) {
    throw badMember('$.origins', `expected 1 to ${maxOrigins} origins, or ["*"] for all`);
  }
  if (origins.includes('*')) return null;
  return origins.map((origin, index) => {
    const url = URL.canParse(origin) ? new URL(origin) : undefined;
    // `origin` of schemes such as capacitor: is "null", though browsers in apps send them as they are.
    const written = url && (url.origin === 'null' ? origin : url.origin);
    if (!url || written !== origin || origin.length > 300 || !/^[\w.+-]+:\/\/[\x21-\x7e]+$/.test(origin)) {
      throw badMember(
        `$.origins[${index}]`,
        'expected an origin as browsers send it (`https://app.example.com`, without a path), or `*`',
      );
    }
    return origin;
  });
}

/** May a page of this origin use the key? A request without an origin does not come from a page of another one. */
export function allowsOrigin(origins: readonly string[] | null, origin: string | undefined): boolean {
  return origin === undefined || origins === null || origins.includes(origin);
}
