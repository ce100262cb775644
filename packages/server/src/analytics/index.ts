/** Figures about what apps' users do: rollups of the log, and questions to them. */
export {
  type Attribution,
  type AttributionRequest,
  attribution,
} from './attribution.ts';
export { type Calendar, calendarOf, dayName, dayNumber } from './calendar.ts';
export type { DayRange } from './days.ts';
export {
  type DemographicDimension,
  type Demographics,
  demographicDimensions,
  demographics,
} from './demographics.ts';
export { type EndpointFilter, type EventFilter, metricOperators } from './event-filter.ts';
export {
  type ExplorerRequest,
  type ExplorerRow,
  exploreEvents,
  listEventNames,
  listEventTypes,
  maxTop,
} from './explorer.ts';
export { type FunnelRequest, type FunnelStep, maxSteps, queryFunnel } from './funnel.ts';
export { type KpiScope, kpiNames } from './kpi-names.ts';
export { kpiResults, rebuildKpiResults } from './kpi-results.ts';
export { type Kpi, type KpiRow, queryEngagement, queryKpi } from './kpis.ts';
export {
  eraseAnalytics,
  requestRebuild,
  runRebuilds,
  sweepRetiredRollups,
} from './rebuild.ts';
export {
  type Cohort,
  type Retention,
  type RetentionDay,
  retention,
  type WeeklyCohort,
  weeklyCohorts,
} from './retention.ts';
export { type Revenue, type RevenueDay, type RevenueReport, revenue } from './revenue.ts';
export { analyticsRollups } from './rollups.ts';
export { type AnalyticsTimeZone, getTimeZone, setTimeZone } from './time-zone.ts';
export {
  activeInRange,
  eventCounts,
  heatMap,
  type SessionHour,
  type UsageDay,
  type UsageMonth,
  usage,
  usageByMonth,
} from './usage.ts';
