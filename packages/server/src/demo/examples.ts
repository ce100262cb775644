import type { DemoResult } from './run.ts';

/** What a newcomer can paste: plain curl, and the same for aws-cli. */
export function examples(
  options: { url: string; region: string; key: { id: string; secret: string } } & DemoResult,
): string[] {
  const { url, region, key, applicationId, segmentId, campaignId, eventCampaignId, days } = options;
  const signed = `curl -s --aws-sigv4 aws:amz:${region}:mobiletargeting -u "$KEY:$SECRET"`;
  const own = 'curl -s -u "$KEY:$SECRET"';
  const json = `-H 'content-type: application/json'`;
  return [
    'Try it (curl is enough):',
    '',
    `  export URL=${url} KEY=${key.id} SECRET=${key.secret} APP=${applicationId}`,
    `  # the Pinpoint API, signed by curl itself`,
    `  ${signed} $URL/v1/apps/$APP/campaigns/${campaignId}`,
    `  # who is in the segment, and why`,
    `  ${own} "$URL/api/apps/$APP/segments/${segmentId}/explain?endpointId=demo-1"`,
    `  # a message, and what became of it`,
    `  ${own} ${json} $URL/api/apps/$APP/messages \\`,
    `    -d '{"channel":"EMAIL","to":[{"address":"you@example.com"}],"subject":"Hello","text":"It works."}'`,
    `  ${own} "$URL/api/apps/$APP/messages?address=you@example.com"`,
    `  # what the purchases of today did, and which of them triggered nothing`,
    `  ${own} $URL/api/apps/$APP/campaigns/${eventCampaignId}/accounting`,
    `  ${own} $URL/api/apps/$APP/campaigns/${eventCampaignId}/triggers`,
    `  # who used the app, day by day; what was bought, by product`,
    `  ${own} -H 'accept: text/csv' "$URL/api/apps/$APP/analytics/usage?from=${days.from}&to=${days.to}"`,
    `  ${own} ${json} $URL/api/apps/$APP/analytics/explorer -d '{"eventType":"_monetization.purchase",`,
    `    "from":"${days.from}","to":"${days.to}","interval":"all","metric":"_item_price","groupBy":"product"}'`,
    '',
    'The same with aws-cli:',
    '',
    `  export AWS_ACCESS_KEY_ID=${key.id} AWS_SECRET_ACCESS_KEY=${key.secret} AWS_DEFAULT_REGION=${region}`,
    `  aws --endpoint-url ${url} pinpoint get-campaign --application-id ${applicationId} --campaign-id ${campaignId}`,
    `  aws --endpoint-url ${url} pinpoint send-messages --application-id ${applicationId} --message-request \\`,
    `    '{"Addresses":{"you@example.com":{"ChannelType":"EMAIL"}},"MessageConfiguration":{"EmailMessage":{"SimpleEmail":{"Subject":{"Data":"Hello"},"TextPart":{"Data":"It works."}}}}}'`,
  ];
}
