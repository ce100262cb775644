/** Whom we reach: endpoints, users, segments, imports, exports, suppressions. */
export { type AttributeType, attributeTypes, removeAttributes } from './attribute.ts';
export { type SignOfLife, touchActivity } from './endpoints/activity.ts';
export { deleteEndpoint, deleteUserEndpoints } from './endpoints/delete.ts';
export type { EndpointGuard } from './endpoints/guard.ts';
export {
  type EndpointItem,
  type EndpointLimits,
  pinpointLimits,
  protectiveLimits,
} from './endpoints/item.ts';
export { endpointIdsOfUsers } from './endpoints/of-users.ts';
export {
  type EndpointIdentity,
  type EndpointPage,
  type EndpointQuery,
  endpointIdentities,
  getEndpoint,
  getUserEndpoints,
  loadRecipients,
  searchEndpoints,
} from './endpoints/read.ts';
export { type Recipient, shownUserId, toEndpointResponse } from './endpoints/row.ts';
export { type UpsertOptions, type UpsertResult, upsertEndpoints } from './endpoints/upsert.ts';
export {
  type AttributeChange,
  type ChangedPayload,
  changedFactType,
  type Watch,
  watchAttributes,
} from './endpoints/watch.ts';
export { eraseAudience } from './erase.ts';
export {
  createEventImport,
  type EventImport,
  getEventImport,
  listEventImports,
} from './event-imports/job.ts';
export { runWaitingEventImports } from './event-imports/run.ts';
export {
  createExportJob,
  type ExportFile,
  type ExportJob,
  getExportJob,
  listExportFiles,
  listExportJobs,
} from './exports/job.ts';
export { runWaitingExports } from './exports/run.ts';
export { errorBucket as importErrorBucket } from './imports/finish.ts';
export { createImportJob, getImportJob, type ImportJob, type Job, listImportJobs } from './imports/job.ts';
export { runWaitingImports } from './imports/run.ts';
export {
  type EventApp,
  type EventPayload,
  type EventSession,
  eventFactType,
  eventTypeOf,
  isAppActivity,
  isStandardType,
  normaliseEventType,
} from './ingest/event.ts';
export {
  createIngest,
  type Ingest,
  type IngestAnswer,
  type IngestOptions,
  type IngestResult,
} from './ingest/ingest.ts';
export { type EventLimits, pinpointEventLimits, protectiveEventLimits } from './ingest/limits.ts';
export type { IngestEvent, IngestItem, PublicEndpoint } from './ingest/prepare.ts';
export { type Among, membersAmong } from './segments/among.ts';
export { type CompiledSegment, type CompileOptions, compileSegment } from './segments/compile.ts';
export type { SegmentDefinition } from './segments/criteria.ts';
export { type Explanation, explainEndpoints, explainSegment } from './segments/explain.ts';
export { parseInstant } from './segments/instant.ts';
export { countSegment, type SegmentCount, sampleSegment } from './segments/membership.ts';
export { isMember, membershipsOf, type SegmentVersionTarget } from './segments/memberships.ts';
export {
  type AttributeOperator,
  attributeOperators,
  compareNumbers,
  type MetricOperator,
  metricOperators,
} from './segments/operators.ts';
export type { SegmentTarget } from './segments/resolve.ts';
export {
  createSegment,
  deleteSegment,
  getSegment,
  getSegmentVersion,
  listSegments,
  listSegmentVersions,
  requireImportedSegment,
  type Segment,
  type SegmentRequest,
  saveImportedSegment,
  segmentExists,
  sweepDeletedSegments,
  updateSegment,
} from './segments/segment.ts';
export {
  addSuppressions,
  listSuppressions,
  normaliseAddress,
  removeSuppression,
  type Suppression,
  type SuppressionReason,
  suppressedAmong,
} from './suppression.ts';
