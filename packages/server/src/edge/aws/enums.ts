import * as Pinpoint from '@aws-sdk/client-pinpoint';

/**
 * Which member holds which enumeration. The SDK's schemas call these members plain strings and export the
 * enumerations as separate constants; only the SDK's type declarations tie the two together, and enums.test.ts holds
 * this table against those.
 */
const enumerations: Record<string, readonly string[]> = {
  __EndpointTypesElement: [
    'CustomDeliveryConfiguration.EndpointTypes',
    'CustomMessageActivity.EndpointTypes',
  ],
  __TimezoneEstimationMethodsElement: [
    'JourneyResponse.TimezoneEstimationMethods',
    'WriteJourneyRequest.TimezoneEstimationMethods',
  ],
  Action: [
    'ADMMessage.Action',
    'APNSMessage.Action',
    'APNSPushNotificationTemplate.Action',
    'AndroidPushNotificationTemplate.Action',
    'BaiduMessage.Action',
    'DefaultPushNotificationMessage.Action',
    'DefaultPushNotificationTemplate.Action',
    'GCMMessage.Action',
    'Message.Action',
  ],
  Alignment: ['InAppMessageBodyConfig.Alignment', 'InAppMessageHeaderConfig.Alignment'],
  AttributeType: ['AttributeDimension.AttributeType'],
  ButtonAction: ['DefaultButtonConfiguration.ButtonAction', 'OverrideButtonConfiguration.ButtonAction'],
  CampaignStatus: ['CampaignState.CampaignStatus'],
  ChannelType: [
    'AddressConfiguration.ChannelType',
    'EndpointBatchItem.ChannelType',
    'EndpointRequest.ChannelType',
    'EndpointResponse.ChannelType',
    'PublicEndpoint.ChannelType',
  ],
  DayOfWeek: ['OpenHours.CUSTOM', 'OpenHours.EMAIL', 'OpenHours.PUSH', 'OpenHours.SMS', 'OpenHours.VOICE'],
  DeliveryStatus: ['EndpointMessageResult.DeliveryStatus', 'MessageResult.DeliveryStatus'],
  DimensionType: ['SetDimension.DimensionType'],
  Duration: ['RecencyDimension.Duration'],
  FilterType: ['CampaignEventFilter.FilterType', 'EventFilter.FilterType'],
  Format: ['ImportJobRequest.Format', 'ImportJobResource.Format', 'SegmentImportResource.Format'],
  Frequency: ['Schedule.Frequency'],
  Include: ['SegmentGroupList.Include'],
  JobStatus: ['ExportJobResponse.JobStatus', 'ImportJobResponse.JobStatus'],
  JourneyRunStatus: ['JourneyRunResponse.Status'],
  Layout: [
    'CampaignInAppMessage.Layout',
    'InAppMessage.Layout',
    'InAppTemplateRequest.Layout',
    'InAppTemplateResponse.Layout',
  ],
  MessageType: ['CampaignSmsMessage.MessageType', 'JourneySMSMessage.MessageType', 'SMSMessage.MessageType'],
  Mode: ['CampaignHook.Mode'],
  Operator: ['Condition.Operator'],
  RecencyType: ['RecencyDimension.RecencyType'],
  SegmentType: ['SegmentResponse.SegmentType'],
  SourceType: ['SegmentGroup.SourceType'],
  State: ['JourneyResponse.State', 'JourneyStateRequest.State', 'WriteJourneyRequest.State'],
  TemplateType: [
    'EmailTemplateResponse.TemplateType',
    'InAppTemplateResponse.TemplateType',
    'PushNotificationTemplateResponse.TemplateType',
    'SMSTemplateResponse.TemplateType',
    'TemplateResponse.TemplateType',
    'VoiceTemplateResponse.TemplateType',
  ],
  Type: ['SegmentGroup.Type'],
};

function byMember(): Map<string, readonly string[]> {
  const constants = Pinpoint as unknown as Record<string, Record<string, string>>;
  const members = new Map<string, readonly string[]>();
  for (const [enumeration, paths] of Object.entries(enumerations)) {
    const constant = constants[enumeration];
    if (!constant) throw new Error(`The SDK has no enumeration ${enumeration}`);
    for (const path of paths) members.set(path, Object.values(constant));
  }
  return members;
}

/** `Structure.Member` -> its known values (those of the elements of a list, of the keys of a map). */
export const enumValues: ReadonlyMap<string, readonly string[]> = byMember();
