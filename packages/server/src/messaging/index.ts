export { type Accounting, accountFor } from './accounting.sql.ts';
export type { ChannelSender } from './compose.ts';
export type { DirectMessage, DirectRecipient, DirectResult } from './direct.ts';
export {
  type AddedMember,
  addMembers,
  closeDispatch,
  type NewDispatch,
  openDispatch,
  setDispatchState,
  startDispatch,
} from './dispatch.sql.ts';
export type {
  ContentByChannel,
  ContentSource,
  Dispatch,
  DispatchClass,
  DispatchPlan,
  Lane,
  Occasion,
  Treatment,
} from './dispatch.ts';
export { treatmentOf } from './dispatch.ts';
export { eraseMessaging } from './erase.sql.ts';
export { countRetries } from './figures.sql.ts';
export { clearInbox, getInboxMessage, listInbox, storeInInbox, trimInbox } from './inbox.ts';
export { getMessage, type MessageFilter, searchMessages } from './message.sql.ts';
export { Pipeline, type PipelineOptions } from './pipeline.ts';
export { type Decision, decisions, isQuiet } from './policy.ts';
export type {
  CustomerFunctions,
  DeliveryChannel,
  EngagementReceipt,
  Provider,
  ProviderAccount,
  ProviderContext,
} from './provider.ts';
export {
  type NewProviderAccount,
  type ProviderAccountPatch,
  ProviderAccounts,
  type TestMessage,
} from './provider-account.ts';
export { createAccountLimits } from './provider-account-limits.ts';
export { createRoutes } from './provider-account-route.ts';
export { smtpUrlAccount } from './provider-account-url.ts';
export { deleteOldRates } from './rate.sql.ts';
export { receiveReceipts } from './receipt.ts';
export { heldMessages, type RecordedMessage, recordedMessages, type WindowRange } from './recorded.sql.ts';
export { resendInDoubt } from './resend.ts';
