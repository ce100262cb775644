import type {
  EmailTemplateRequest,
  InAppTemplateRequest,
  SMSTemplateRequest,
} from '@aws-sdk/client-pinpoint';
import type { Queryable, Transaction } from '../platform/database.ts';
import { badMember, CallerError, notFound } from '../platform/errors.ts';
import {
  deleteTemplateRow,
  deleteVersionRow,
  insertTemplate,
  insertVersion,
  lockTemplate,
  selectTemplate,
  selectTemplateExists,
  selectTemplates,
  selectVersions,
  updateActiveVersion,
  updateLastVersion,
  updateVersion,
} from './template.sql.ts';
import { checkTemplateName, readDefaults, type TemplateParts, templateParts } from './template-content.ts';

export const templateTypes = ['EMAIL', 'SMS', 'PUSH', 'VOICE', 'INAPP'] as const;
export type TemplateType = (typeof templateTypes)[number];

/** What a version says: the members of the API's request, without tags. */
export type TemplateContent = Omit<EmailTemplateRequest & SMSTemplateRequest & InAppTemplateRequest, 'tags'>;

/** One version of a template. */
export interface Template {
  type: TemplateType;
  name: string;
  version: number;
  content: TemplateContent;
  /** Of the template, not of the version. */
  createdAt: Date;
  /** Of the version. */
  modifiedAt: Date;
}

export interface TemplateVersion {
  version: number;
  content: TemplateContent;
  createdAt: Date;
  modifiedAt: Date;
}

export interface TemplateSummary {
  type: TemplateType;
  name: string;
  /** The active version. */
  version: number;
  createdAt: Date;
  modifiedAt: Date;
}

const maxVersions = 5_000;

/**
 * Makes a template with version 1, which is active.
 * @throws CallerError bad_request when there is one of this name and type, or for a name that is none.
 */
export async function createTemplate(
  tx: Transaction,
  type: TemplateType,
  name: string,
  content: TemplateContent,
): Promise<void> {
  checkTemplateName(name);
  const { rowCount } = await tx.query(insertTemplate(type, name));
  if (!rowCount) throw new CallerError('bad_request', `A template ${name} of type ${type} already exists`);
  await tx.query(insertVersion(type, name, 1, JSON.stringify(content)));
}

/**
 * Replaces the content of the latest version, or makes a new version. A new version is active only when the active
 * version was set to `latest`.
 * @param change.version must be the number of the latest version, so that two editors do not overwrite each other.
 * @returns the number of the version that was written.
 * @throws CallerError not_found; bad_request for another version, or a version together with createNewVersion.
 */
export async function updateTemplate(
  tx: Transaction,
  type: TemplateType,
  name: string,
  content: TemplateContent,
  change: { version?: number; createNewVersion?: boolean } = {},
): Promise<number> {
  const { version, createNewVersion = false } = change;
  if (createNewVersion && version !== undefined) {
    throw badMember('version', 'not allowed together with create-new-version');
  }
  const { lastVersion, latestVersion, versionCount } = await lock(tx, type, name);
  const text = JSON.stringify(content);
  if (createNewVersion) {
    if (versionCount >= maxVersions) {
      throw new CallerError('bad_request', `A template has at most ${maxVersions} versions`);
    }
    const next = lastVersion + 1;
    await tx.query(insertVersion(type, name, next, text));
    await tx.query(updateLastVersion(type, name, next));
    return next;
  }
  if (version !== undefined && version !== latestVersion) {
    throw badMember('version', `expected the latest version, which is ${latestVersion}`);
  }
  await tx.query(updateVersion(type, name, latestVersion, text));
  return latestVersion;
}

/**
 * Sets which version messages use: a number stays until it is set again, `latest` follows every new version.
 * @throws CallerError not_found
 */
export async function setActiveVersion(
  tx: Transaction,
  type: TemplateType,
  name: string,
  version: number | 'latest',
): Promise<void> {
  await lock(tx, type, name);
  if (version !== 'latest') await getTemplate(tx, type, name, version);
  await tx.query(updateActiveVersion(type, name, version === 'latest' ? null : version));
}

/**
 * Deletes one version, or the template with all its versions (also when that version is the only one).
 * @returns true when the template is gone with it.
 * @throws CallerError not_found; bad_request for the active version while there are others.
 */
export async function deleteTemplate(
  tx: Transaction,
  type: TemplateType,
  name: string,
  version?: number,
): Promise<boolean> {
  const { activeVersion, versionCount } = await lock(tx, type, name);
  if (version !== undefined) await getTemplate(tx, type, name, version);
  if (version === undefined || versionCount === 1) {
    await tx.query(deleteTemplateRow(type, name));
    return true;
  }
  if (version === activeVersion) {
    throw badMember('version', `version ${version} is the active one; make another version active first`);
  }
  await tx.query(deleteVersionRow(type, name, version));
  return false;
}

/**
 * One version of a template: the active one when none is asked for.
 * @throws CallerError not_found
 */
export async function getTemplate(
  db: Queryable,
  type: TemplateType,
  name: string,
  version?: number | 'latest',
): Promise<Template> {
  const wanted = version === undefined ? null : version === 'latest' ? -1 : version;
  const { rows } = await db.query(selectTemplate(type, name, wanted));
  const [row] = rows;
  if (row) {
    return { ...times(row), type: row.type, name: row.name, version: row.version, content: row.content };
  }
  if (wanted === null || wanted === -1) throw notFound(`${type} template`, name);
  throw notFound(`Version ${version} of ${type} template`, name);
}

/** A template as messages use it. */
export interface LoadedTemplate extends TemplateParts {
  name: string;
  version: number;
  /** DefaultSubstitutions. */
  defaults: Record<string, string>;
}

/**
 * A template ready to be rendered.
 * @param version a number as text, `latest`, or nothing for the active one (`TemplateConfiguration`).
 * @throws CallerError not_found; bad_request for a version that is neither.
 */
export async function loadTemplate(
  db: Queryable,
  type: 'EMAIL' | 'SMS',
  name: string,
  version?: string,
): Promise<LoadedTemplate> {
  const wanted = version === 'latest' ? version : readVersion('Version', version);
  const template = await getTemplate(db, type, name, wanted);
  return {
    name: template.name,
    version: template.version,
    ...templateParts(template.content),
    defaults: readDefaults(template.content.DefaultSubstitutions),
  };
}

export async function templateExists(db: Queryable, type: string, name: string): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(selectTemplateExists(type, name));
  return rows[0]!.found;
}

/** By name and type; `after` is the last one of the page before. */
export async function listTemplates(
  db: Queryable,
  filter: { type?: TemplateType; prefix?: string; after?: { name: string; type: string }; limit: number },
): Promise<TemplateSummary[]> {
  const { type = null, prefix = '', after, limit } = filter;
  const statement = selectTemplates({
    type,
    prefix,
    afterName: after?.name ?? '',
    afterType: after?.type ?? '',
    limit,
  });
  const { rows } = await db.query(statement);
  return rows.map((row) => ({ ...times(row), type: row.type, name: row.name, version: row.version }));
}

/**
 * Versions, latest first; `before` is the last one of the page before.
 * @throws CallerError not_found
 */
export async function listTemplateVersions(
  db: Queryable,
  type: TemplateType,
  name: string,
  paging: { before?: number; limit: number },
): Promise<TemplateVersion[]> {
  if (!(await templateExists(db, type, name))) throw notFound(`${type} template`, name);
  const { rows } = await db.query(selectVersions(type, name, paging.before ?? null, paging.limit));
  return rows.map((row) => ({ ...times(row), version: row.version, content: row.content }));
}

/**
 * Reads a version number of the API (`"3"`).
 * @throws CallerError bad_request
 */
export function readVersion(path: string, version: string | undefined): number | undefined {
  if (version === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(version)) throw badMember(path, 'expected the number of a version');
  return Number(version);
}

interface Locked {
  lastVersion: number;
  latestVersion: number;
  activeVersion: number | null;
  versionCount: number;
}

async function lock(tx: Transaction, type: TemplateType, name: string): Promise<Locked> {
  const { rows } = await tx.query(lockTemplate(type, name));
  const [row] = rows;
  if (!row) throw notFound(`${type} template`, name);
  return {
    lastVersion: row.last_version,
    latestVersion: row.latest_version,
    activeVersion: row.active_version,
    versionCount: row.version_count,
  };
}

function times(row: { created_at: Date; modified_at: Date }) {
  return { createdAt: row.created_at, modifiedAt: row.modified_at };
}
