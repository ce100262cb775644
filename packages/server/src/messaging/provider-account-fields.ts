import { badMember } from '../platform/errors.ts';
import type { Provider, SettingField } from './provider.ts';

/** Settings of an account, apart: what may be shown, and what is stored encrypted. */
export interface AccountSettings {
  settings: Record<string, unknown>;
  secrets: Record<string, string>;
}

const maxTextLength = 2000;
const maxSecretLength = 20_000;

/**
 * Applies `given` to what is stored: a member replaces, null removes, an absent one stays. Everything is checked by
 * the provider's fields.
 * @param path of the settings in the request (`$.settings`), for the messages
 * @throws CallerError with the member's path
 */
export function mergeSettings(
  provider: Provider,
  stored: AccountSettings,
  given: Record<string, unknown>,
  path = '$.settings',
): AccountSettings {
  const fields = new Map(provider.fields.map((field) => [field.name, field]));
  const settings = new Map(Object.entries(stored.settings));
  const secrets = new Map(Object.entries(stored.secrets));
  for (const [name, value] of Object.entries(given)) {
    const field = fields.get(name);
    if (!field) {
      const names = [...fields.keys()].join(', ');
      throw badMember(
        `${path}.${name.slice(0, 100)}`,
        `${provider.name} has no such setting; it has: ${names}`,
      );
    }
    const target: Map<string, unknown> = field.secret ? secrets : settings;
    if (value === null || value === undefined || value === '') target.delete(name);
    else target.set(name, checkValue(field, value, `${path}.${name}`));
  }
  for (const { name, label, required, secret } of provider.fields) {
    if (required && !(secret ? secrets : settings).has(name))
      throw badMember(`${path}.${name}`, `expected a value (${label})`);
  }
  return {
    settings: Object.fromEntries(settings),
    secrets: Object.fromEntries(secrets) as Record<string, string>,
  };
}

function checkValue(field: SettingField, value: unknown, path: string): unknown {
  switch (field.type) {
    case 'string': {
      const text = checkText(value, path, field.secret ? maxSecretLength : maxTextLength);
      if (field.pattern !== undefined && !new RegExp(`^(?:${field.pattern})$`, 'v').test(text))
        throw badMember(path, `expected ${field.description.replace(/\.$/, '')}`);
      return text;
    }
    case 'number': {
      const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = field;
      if (!Number.isSafeInteger(value) || (value as number) < minimum || (value as number) > maximum)
        throw badMember(path, `expected a whole number from ${minimum} to ${maximum}`);
      return value;
    }
    case 'boolean':
      if (typeof value !== 'boolean') throw badMember(path, 'expected true or false');
      return value;
    case 'enum':
      if (typeof value !== 'string' || !field.options?.includes(value))
        throw badMember(path, `expected one of ${field.options?.join(', ')}`);
      return value;
  }
}

/** A line of text: nothing in it can end a command or a header. */
export function checkText(value: unknown, path: string, maxLength: number): string {
  if (typeof value !== 'string') throw badMember(path, 'expected a string');
  if (value.length === 0 || value.length > maxLength)
    throw badMember(path, `expected 1 to ${maxLength} characters`);
  if (/\p{Cc}/u.test(value) || !value.isWellFormed())
    throw badMember(path, 'expected text without control characters');
  return value;
}
