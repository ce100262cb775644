/** What a KPI measures; how each is counted stands in kpis.ts. */
export type KpiMeasure =
  | 'attempted'
  | 'sent'
  | 'delivered'
  | 'deliveryRate'
  | 'hardBounced'
  | 'hardBounceRate'
  | 'softBounced'
  | 'opens'
  | 'openRate'
  | 'uniqueOpens'
  | 'clicks'
  | 'uniqueClicks'
  | 'complained'
  | 'complaintRate'
  | 'uniqueDeliveries'
  | 'errors'
  /** Of a channel or feature that does not exist yet: it never has rows. */
  | 'notBuilt';

/** Whose messages count: those of campaigns (on all channels, or e-mail only), and direct ones by channel. */
export type KpiMessages = 'campaign' | 'campaignEmail' | 'directEmail' | 'directSms';

export type KpiGroup = 'campaign' | 'activity' | 'date' | 'error';

export interface KpiDefinition {
  /** `Key` of the value: PascalCase of the name without its grouping. */
  key: string;
  measure: KpiMeasure;
  messages: KpiMessages;
  group?: KpiGroup;
}

export type KpiScope = 'application' | 'campaign';

const groupings = [
  '-grouped-by-campaign-activity',
  '-grouped-by-campaign',
  '-grouped-by-country',
  '-grouped-by-date',
] as const;
const groupOf: Record<string, KpiGroup> = {
  '-grouped-by-campaign-activity': 'activity',
  '-grouped-by-campaign': 'campaign',
  '-grouped-by-date': 'date',
};

function keyOf(name: string): string {
  const grouping = groupings.find((ending) => name.endsWith(ending)) ?? '';
  return name
    .slice(0, name.length - grouping.length)
    .split('-')
    .map((word) => word[0]!.toUpperCase() + word.slice(1))
    .join('');
}

/** The KPIs of one base name, plain (`''`) and grouped. */
function kpis(
  base: string,
  measure: KpiMeasure,
  messages: KpiMessages,
  endings: readonly string[],
): [string, KpiDefinition][] {
  return endings.map((ending) => {
    const name = base + ending;
    const group = groupOf[ending];
    return [name, { key: keyOf(name), measure, messages, ...(group && { group }) }];
  });
}

const date = '-grouped-by-date';
const byCampaign = '-grouped-by-campaign';
const byActivity = '-grouped-by-campaign-activity';
const byCountry = '-grouped-by-country';

const applicationKpis: [string, KpiDefinition][] = [
  ...kpis('successful-delivery-rate', 'deliveryRate', 'campaign', ['', date]),
  ...kpis('successful-deliveries', 'delivered', 'campaign', [byCampaign]),
  ...kpis('email-open-rate', 'openRate', 'campaignEmail', ['', byCampaign]),
  ...kpis('push-open-rate', 'notBuilt', 'campaign', ['', byCampaign]),
  ...kpis('unique-deliveries', 'uniqueDeliveries', 'campaign', ['', byCampaign, date]),
  ...(
    [
      ['sent', 'sent'],
      ['delivered', 'delivered'],
      ['delivery-rate', 'deliveryRate'],
      ['hard-bounced', 'hardBounced'],
      ['soft-bounced', 'softBounced'],
      ['opened', 'opens'],
      ['unique-opens', 'uniqueOpens'],
      ['clicked', 'clicks'],
      ['unique-clicks', 'uniqueClicks'],
      ['with-complaints', 'complained'],
      ['complaint-rate', 'complaintRate'],
    ] as const
  ).flatMap(([word, measure]) => kpis(`txn-emails-${word}`, measure, 'directEmail', ['', date])),
  ...kpis('txn-sms-sent', 'sent', 'directSms', ['', date]),
  ...kpis('txn-sms-delivered', 'delivered', 'directSms', ['', date]),
  ...kpis('txn-sms-delivery-rate', 'deliveryRate', 'directSms', ['', date]),
  ['txn-sms-error-distribution', { ...smsErrors() }],
  // Countries, parts and prices come with the SMS providers that report them.
  ...kpis('txn-sms-sent', 'notBuilt', 'directSms', [byCountry]),
  ...kpis('txn-sms-delivered', 'notBuilt', 'directSms', [byCountry]),
  ...kpis('txn-sms-sent-by-parts', 'notBuilt', 'directSms', ['', byCountry]),
  ...kpis('txn-sms-delivered-by-parts', 'notBuilt', 'directSms', ['', byCountry]),
  ...kpis('txn-sms-average-price', 'notBuilt', 'directSms', [byCountry]),
  ...kpis('txn-sms-average-price-by-parts', 'notBuilt', 'directSms', [byCountry]),
  ...kpis('txn-sms-total-price', 'notBuilt', 'directSms', [byCountry]),
];

function smsErrors(): KpiDefinition {
  return {
    key: keyOf('txn-sms-error-distribution'),
    measure: 'errors',
    messages: 'directSms',
    group: 'error',
  };
}

const campaignKpis: [string, KpiDefinition][] = [
  ...kpis('hard-bounce-rate', 'hardBounceRate', 'campaignEmail', ['', byActivity]),
  ...kpis('successful-delivery-rate', 'deliveryRate', 'campaign', ['', byActivity, date]),
  ...kpis('successful-deliveries', 'delivered', 'campaign', [byActivity]),
  ...kpis('attempted-deliveries', 'attempted', 'campaign', [byActivity]),
  ...kpis('email-open-rate', 'openRate', 'campaignEmail', ['', byActivity]),
  ...kpis('direct-email-opens', 'opens', 'campaignEmail', [byActivity]),
  ...kpis('clicks', 'clicks', 'campaignEmail', [byActivity]),
  ...kpis('push-open-rate', 'notBuilt', 'campaign', ['', byActivity]),
  ...kpis('direct-push-opens', 'notBuilt', 'campaign', [byActivity]),
  ...kpis('unique-deliveries', 'uniqueDeliveries', 'campaign', ['', byActivity, date]),
  ...kpis('sms-spend', 'notBuilt', 'campaign', ['']),
];

/** All KPIs that Pinpoint knows of applications and campaigns (reference 4.9), by what they are asked of. */
export const kpiNames: Record<KpiScope, ReadonlyMap<string, KpiDefinition>> = {
  application: new Map(applicationKpis),
  campaign: new Map(campaignKpis),
};
