import type { FastifyRequest } from 'fastify';
import type { EngagementReceipt, getInboxMessage } from '../../messaging/index.ts';
import { systemClock } from '../../platform/clock.ts';
import type { ApiContext } from './context.ts';

type InboxMessage = NonNullable<Awaited<ReturnType<typeof getInboxMessage>>>;

/** What the caller says about an open or a click; the request itself says the rest. */
export type Engagement = Pick<EngagementReceipt, 'kind'> &
  Partial<Pick<EngagementReceipt, 'machine' | 'url' | 'userAgent' | 'ipAddress'>>;

/** Reports that a message of the sandbox was opened or clicked, the way a provider reports it; returns after the commit. */
export async function reportEngagement(
  { providerContext }: Pick<ApiContext, 'providerContext'>,
  { messageId, applicationId }: Pick<InboxMessage, 'messageId' | 'applicationId'>,
  engagement: Engagement,
  request: FastifyRequest,
): Promise<void> {
  await providerContext.receive([
    {
      messageId,
      applicationId,
      at: systemClock.now(),
      machine: false,
      userAgent: request.headers['user-agent'],
      ipAddress: request.ip,
      ...engagement,
    },
  ]);
}

const linkPattern = /(<(?:a|area)\b[^>]*?\shref\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/gi;
const maxLinks = 1_000;

/** Links of an HTML part to web addresses, in their order. */
export function linksOf(html: string): string[] {
  const links: string[] = [];
  for (const [, , double, single, bare] of html.matchAll(linkPattern)) {
    const url = webAddress(double ?? single ?? bare ?? '');
    if (url !== undefined && links.length < maxLinks) links.push(url);
  }
  return links;
}

/** The HTML part with each link to the web leading to `target(n)`, n counting as in `linksOf`. */
export function withLinks(html: string, target: (index: number) => string): string {
  let index = -1;
  return html.replace(
    linkPattern,
    (whole, before: string, double?: string, single?: string, bare?: string) => {
      if (webAddress(double ?? single ?? bare ?? '') === undefined || index + 1 >= maxLinks) return whole;
      index += 1;
      return `${before}"${target(index)}"`;
    },
  );
}

/** An attribute's value as an address of the web; undefined for every other kind (mailto, script, none). */
function webAddress(value: string): string | undefined {
  const text = value.trim().replaceAll('&amp;', '&').replaceAll('&#38;', '&');
  if (!/^https?:\/\//i.test(text)) return undefined;
  return URL.canParse(text) ? new URL(text).href : undefined;
}
