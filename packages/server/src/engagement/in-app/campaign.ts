import type { CampaignEventFilter } from '@aws-sdk/client-pinpoint';
import { type InAppContent, inAppParts } from '../../content/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import type { Campaign, CampaignDefinition } from '../campaigns/campaign.ts';
import { effectiveLimits, effectiveQuietTime, treatmentSizes } from '../campaigns/plan.ts';
import { loadInAppMessages } from '../campaigns/references.ts';
import { parseIsoTime } from '../campaigns/schedule.ts';
import { type EventFilter, readEventFilter } from '../campaigns/trigger-filter.ts';
import { selectInAppCampaigns, selectInAppState } from './in-app.sql.ts';

/** One treatment's message. */
export interface InAppTreatment {
  id: string;
  sizePercent: number;
  message: InAppContent;
  /** Texts with variables; empty when the message is the same for everybody. */
  parts: Readonly<Record<string, string>>;
}

/** A campaign as GetInAppMessages chooses from it. */
export interface InAppCampaign {
  id: string;
  /** For what is compiled of its messages. */
  version: number;
  segment: { segmentId: string; version: number };
  startsAt: number;
  endsAt: number;
  holdoutPercent: number;
  treatments: InAppTreatment[];
  /** 1 is shown first; 0 has none. */
  priority: number;
  caps: { daily: number; total: number; session: number };
  quietTime: { start: string; end: string } | undefined;
  eventFilter: CampaignEventFilter;
  filter: EventFilter;
}

/** What an application's clients can be shown, and by which changes it is outdated. */
export interface InAppCampaigns {
  state: { campaigns: string; templates: string };
  templateNames: string[];
  campaigns: InAppCampaign[];
}

export interface InAppState {
  campaigns: string;
  templates: string;
  evaluation: 'client' | 'server';
}

export async function readState(
  db: Queryable,
  applicationId: string,
  templates: string[],
): Promise<InAppState> {
  const { text, values } = selectInAppState(applicationId, templates);
  // Asked with every request: a name has it planned once for each connection.
  const { rows } = await db.query<InAppState>({ name: 'in-app-state', text, values });
  return rows[0]!;
}

type Row = Pick<Campaign, 'id' | 'version' | 'definition' | 'inherited' | 'segmentVersion'>;

/** Reads and compiles them. One whose template is gone is left out. */
export async function loadInAppCampaigns(db: Queryable, applicationId: string): Promise<InAppCampaigns> {
  const { rows } = await db.query<Row>(selectInAppCampaigns(applicationId));
  const templateNames = [...new Set(rows.flatMap(({ definition }) => namesOf(definition)))];
  // Read before the templates: what changes in between makes the state differ, and is read again.
  const { templates } = await readState(db, applicationId, templateNames);
  const campaigns: InAppCampaign[] = [];
  for (const row of rows) {
    const compiled = await compile(db, row);
    if (compiled) campaigns.push(compiled);
  }
  const state = { campaigns: rows.map(({ id, version }) => `${id} ${version}`).join(','), templates };
  return { state, templateNames, campaigns };
}

function namesOf(definition: CampaignDefinition): string[] {
  return [definition, ...(definition.AdditionalTreatments ?? [])].flatMap(
    ({ TemplateConfiguration }) => TemplateConfiguration?.InAppTemplate?.Name ?? [],
  );
}

async function compile(db: Queryable, row: Row): Promise<InAppCampaign | undefined> {
  const { definition, inherited } = row;
  let messages: InAppContent[];
  try {
    messages = await loadInAppMessages(db, definition);
  } catch (error) {
    if (error instanceof CallerError) return undefined;
    throw error;
  }
  const schedule = definition.Schedule!;
  const sizes = treatmentSizes(definition);
  const limits = effectiveLimits(definition, inherited);
  return {
    id: row.id,
    version: row.version,
    segment: { segmentId: definition.SegmentId!, version: row.segmentVersion },
    startsAt: schedule.StartTime === 'IMMEDIATE' ? 0 : parseIsoTime(schedule.StartTime!)!,
    endsAt: parseIsoTime(schedule.EndTime!)!,
    holdoutPercent: definition.HoldoutPercent ?? 0,
    treatments: messages.map((message, index) => ({
      id: String(index),
      sizePercent: sizes[index]!,
      message,
      parts: inAppParts(message),
    })),
    priority: definition.Priority ?? 0,
    caps: { daily: limits.Daily ?? 0, total: limits.Total ?? 0, session: limits.Session ?? 0 },
    quietTime: effectiveQuietTime(definition, inherited),
    eventFilter: schedule.EventFilter!,
    filter: readEventFilter(schedule.EventFilter, '$.Schedule.EventFilter'),
  };
}
