import type { Provider, ProviderAccount } from './provider.ts';
import { mergeSettings } from './provider-account-fields.ts';

/**
 * The account that POSTRIDER_SMTP_URL makes: `smtp(s)://user:password@host:port?name=value`, where the names are those
 * of the SMTP provider's settings and `messagesPerSecond`. It serves every application.
 * @throws Error that names the setting and never shows the password
 */
export function smtpUrlAccount(url: string, provider: Provider): ProviderAccount {
  try {
    return accountOf(new URL(url), provider);
  } catch (error) {
    const words =
      error instanceof TypeError
        ? 'expected a URL such as smtp://user:password@host:587'
        : String((error as Error).message);
    throw new Error(`POSTRIDER_SMTP_URL: ${words}`);
  }
}

function accountOf(url: URL, provider: Provider): ProviderAccount {
  const implicit = url.protocol === 'smtps:';
  if (!implicit && url.protocol !== 'smtp:') throw new TypeError('protocol');
  const given: Record<string, unknown> = {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port ? Number(url.port) : implicit ? 465 : 587,
    tls: implicit ? 'implicit' : 'opportunistic',
    user: decodeURIComponent(url.username) || null,
    password: decodeURIComponent(url.password) || null,
  };
  let messagesPerSecond: number | null = null;
  for (const [name, text] of url.searchParams) {
    if (name === 'messagesPerSecond') messagesPerSecond = rateOf(text);
    else given[name] = typedValue(provider, name, text);
  }
  const { settings, secrets } = mergeSettings(provider, { settings: {}, secrets: {} }, given, '?');
  return {
    id: 'smtp-url',
    applicationId: null,
    channel: 'EMAIL',
    provider: provider.name,
    name: 'POSTRIDER_SMTP_URL',
    settings,
    secrets,
    messagesPerSecond,
    dailyLimit: null,
    fromEnvironment: true,
  };
}

function rateOf(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new Error('messagesPerSecond: expected a whole number from 1 to 999999');
  return Number(text);
}

/** A query's text as the type that the field has; what does not fit stays text and is refused by the field. */
function typedValue(provider: Provider, name: string, text: string): unknown {
  const type = provider.fields.find((field) => field.name === name)?.type;
  if (type === 'number' && /^\d+$/.test(text)) return Number(text);
  if (type === 'boolean' && /^(?:true|on|yes|1)$/i.test(text)) return true;
  if (type === 'boolean' && /^(?:false|off|no|0)$/i.test(text)) return false;
  return text;
}
