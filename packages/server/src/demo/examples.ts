import type { DemoResult } from './run.ts';

/** What a newcomer can paste: plain curl, and the same for aws-cli. */
export function examples(
  options: { url: string; region: string; key: { id: string; secret: string } } & DemoResult,
): string[] {
  const { url, region, key, applicationId, segmentId, campaignId } = options;
  return [
    'Try it (curl is enough):',
    '',
    `  export KEY=${key.id} SECRET=${key.secret} APP=${applicationId}`,
    `  # the Pinpoint API, signed by curl itself`,
    `  curl -s --aws-sigv4 aws:amz:${region}:mobiletargeting -u "$KEY:$SECRET" ${url}/v1/apps/$APP/campaigns/${campaignId}`,
    `  # who is in the segment, and why`,
    `  curl -s -u "$KEY:$SECRET" "${url}/api/apps/$APP/segments/${segmentId}/explain?endpointId=demo-1"`,
    `  # a message, and what became of it`,
    `  curl -s -u "$KEY:$SECRET" -H 'content-type: application/json' ${url}/api/apps/$APP/messages \\`,
    `    -d '{"channel":"EMAIL","to":[{"address":"you@example.com"}],"subject":"Hello","text":"It works."}'`,
    `  curl -s -u "$KEY:$SECRET" "${url}/api/apps/$APP/messages?address=you@example.com"`,
    '',
    'The same with aws-cli:',
    '',
    `  export AWS_ACCESS_KEY_ID=${key.id} AWS_SECRET_ACCESS_KEY=${key.secret} AWS_DEFAULT_REGION=${region}`,
    `  aws --endpoint-url ${url} pinpoint get-campaign --application-id ${applicationId} --campaign-id ${campaignId}`,
    `  aws --endpoint-url ${url} pinpoint send-messages --application-id ${applicationId} --message-request \\`,
    `    '{"Addresses":{"you@example.com":{"ChannelType":"EMAIL"}},"MessageConfiguration":{"EmailMessage":{"SimpleEmail":{"Subject":{"Data":"Hello"},"TextPart":{"Data":"It works."}}}}}'`,
  ];
}
