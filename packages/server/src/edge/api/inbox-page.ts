import type { FastifyInstance } from 'fastify';
import { authorize, getApplication, listApplications, visibleApplications } from '../../accounts/index.ts';
import { getInboxMessage, getMessage, listInbox } from '../../messaging/index.ts';
import { CallerError, notFound } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { linksOf, reportEngagement, withLinks } from './engagement.ts';
import { type Html, html, sendPage } from './page.ts';
import { createProblemHandler, type SendProblem, sendProblem } from './problem.ts';
import { decodeCursor, encodeCursor, isUuid } from './schema.ts';

type Principal = Parameters<typeof authorize>[0];
type InboxMessage = NonNullable<Awaited<ReturnType<typeof getInboxMessage>>>;
type Summary = Awaited<ReturnType<typeof listInbox>>['messages'][number];
type Timeline = Awaited<ReturnType<typeof getMessage>>['timeline'];

interface Filter {
  app?: string;
  address?: string;
  channel?: string;
  cursor?: string;
}

const note = 'Sandbox: what you see here was delivered to nobody else.';
const pageSize = 100;
const maxApplications = 100;
const maxRawChars = 200_000;
const channels = ['EMAIL', 'SMS', 'PUSH', 'VOICE', 'CUSTOM', 'IN_APP'] as const;

/** Mails are shown in a frame without scripts, forms or a way to this origin; their links open a page of their own. */
const frameRights = 'allow-popups allow-popups-to-escape-sandbox';
const mailPolicy = `sandbox ${frameRights}; default-src 'none'; style-src 'unsafe-inline'; img-src data:`;

/** Pages that show what the sandbox received; they ask for an access key as user name and its secret. */
export function inboxPage(api: FastifyInstance, context: ApiContext): void {
  const { database, log } = context;
  const list = { config: { action: 'postrider:ListInbox' }, schema: { hide: true } };
  const one = { config: { action: 'postrider:GetInboxMessage' }, schema: { hide: true } };
  api.setErrorHandler(createProblemHandler(log, sendErrorPage));
  api.get<{ Querystring: Filter }>('/inbox', list, async ({ query, principal }, reply) => {
    const filter = filterOf(query);
    const applicationId = applicationOf(principal, filter.app);
    const applications = await listApplications(database, {
      ids: visibleApplications(principal),
      after: '',
      limit: maxApplications,
    });
    const { messages, next } = await listInbox(database, {
      applicationId,
      address: filter.address,
      channel: channels.find((channel) => channel === filter.channel),
      before: decodeCursor(query.cursor, isUuid),
      limit: pageSize,
    });
    const body = html`<h1>Inbox</h1>
${searchForm(filter, applications)}
${messages.length > 0 ? messageList(messages) : emptyList(filter)}
${pages(filter, query.cursor !== undefined, next)}`;
    return sendPage(reply, { title: 'Inbox', note, body });
  });
  api.get<{ Params: { id: string } }>('/inbox/:id', one, async (request, reply) => {
    const { params, principal } = request;
    const message = await readable(params.id, principal);
    // Who reads a mail here is its recipient.
    if (message.channel === 'EMAIL') await reportEngagement(context, message, { kind: 'opened' }, request);
    const application = await getApplication(database, message.applicationId);
    const timeline = await timelineOf(message, principal);
    const body = html`<p><a href="/inbox">← Inbox</a></p>
<h1>${headingOf(message)}</h1>
${facts(message, application.name)}
${contentOf(message)}
${timeline && timelineList(timeline)}
<p class="faint">All of it as JSON: <a href="/api/apps/${message.applicationId}/messages/${message.messageId}">what happened</a>, <a href="/api/apps/${message.applicationId}/inbox/${message.id}">what was sent</a></p>`;
    return sendPage(reply, { title: headingOf(message), note, body });
  });
  api.get<{ Params: { id: string } }>('/inbox/:id/html', one, async ({ params, principal }, reply) => {
    const { content } = await readable(params.id, principal);
    if (content.kind !== 'email' || content.html === undefined)
      throw notFound('HTML part of message', params.id);
    return reply
      .header('content-security-policy', mailPolicy)
      .type('text/html; charset=utf-8')
      .send(
        `<base target="_blank">${withLinks(content.html, (index) => `/inbox/${params.id}/links/${index}`)}`,
      );
  });
  api.get<{ Params: { id: string; index: string } }>(
    '/inbox/:id/links/:index',
    one,
    async (request, reply) => {
      const { params, principal } = request;
      const message = await readable(params.id, principal);
      const { content } = message;
      const links = content.kind === 'email' && content.html !== undefined ? linksOf(content.html) : [];
      const url = /^\d{1,4}$/.test(params.index) ? links[Number(params.index)] : undefined;
      if (url === undefined) throw notFound(`Link of message ${params.id}`, params.index);
      await reportEngagement(context, message, { kind: 'clicked', url }, request);
      return reply.header('referrer-policy', 'no-referrer').redirect(url, 303);
    },
  );

  async function readable(id: string, principal: Principal): Promise<InboxMessage> {
    const message = await getInboxMessage(database, id);
    if (!message) throw notFound('Inbox message', id);
    authorize(principal, 'postrider:GetInboxMessage', message.applicationId);
    return message;
  }

  /** Undefined when the caller may not see it, or when the message log does not go back so far. */
  async function timelineOf(message: InboxMessage, principal: Principal): Promise<Timeline | undefined> {
    try {
      authorize(principal, 'postrider:GetMessage', message.applicationId);
      return (await getMessage(database, message.applicationId, message.messageId)).timeline;
    } catch (error) {
      if (error instanceof CallerError) return undefined;
      throw error;
    }
  }
}

/** What a form sends empty counts as absent. */
function filterOf({ app, address, channel }: Filter): Filter {
  return { app: app || undefined, address: address?.trim() || undefined, channel: channel || undefined };
}

/** The application whose inbox is shown; undefined shows all, which only a key for all applications may see. */
function applicationOf(principal: Principal, wanted: string | undefined): string | undefined {
  const visible = visibleApplications(principal);
  if (wanted !== undefined) authorize(principal, 'postrider:ListInbox', wanted);
  if (wanted !== undefined || visible === undefined) return wanted;
  if (visible.length === 1) return visible[0];
  throw new CallerError('bad_request', `Name the application: /inbox?app=<id>, one of ${visible.join(', ')}`);
}

function searchForm(filter: Filter, applications: { id: string; name: string }[]): Html {
  const option = (value: string, label: string, chosen: string | undefined) =>
    html`<option value="${value}"${value === (chosen ?? '') ? html` selected` : undefined}>${label}</option>`;
  const application =
    applications.length > 1
      ? html`<label>Application <select name="app">${option('', 'All', filter.app)}${applications.map(
          ({ id, name }) => option(id, name, filter.app),
        )}</select></label>`
      : undefined;
  return html`<form role="search">
<label class="wide">Address <input type="search" name="address" value="${filter.address}" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="someone@example.com"></label>
<label>Channel <select name="channel">${option('', 'All', filter.channel)}${channels.map((channel) =>
    option(channel, channel, filter.channel),
  )}</select></label>
${application}
<button>Search</button>
</form>`;
}

function messageList(messages: readonly Summary[]): Html {
  return html`<ul class="messages card">${messages.map(
    (message) => html`
<li><a href="/inbox/${message.id}"><span class="channel">${message.channel}</span><span class="to">${message.address}</span><span class="subject">${message.subject || '(no subject)'}</span>${timeTag(message.receivedAt)}</a></li>`,
  )}
</ul>`;
}

function emptyList({ address, channel, app }: Filter): Html {
  if (address || channel || app)
    return html`<div class="card empty"><strong>Nothing found</strong>${
      address ? html`No message here went to <code>${address}</code>. ` : undefined
    }The search looks for whole addresses. <a href="/inbox">Show all</a></div>`;
  return html`<div class="card empty"><strong>Nothing here yet</strong>What is sent on a channel without an active provider account arrives here.</div>`;
}

function pages(filter: Filter, isLater: boolean, next: string | undefined): Html | undefined {
  if (!isLater && !next) return undefined;
  const link = (cursor: string | undefined) => {
    const members = Object.entries({ ...filter, cursor }).filter(([, value]) => value !== undefined);
    return `/inbox?${new URLSearchParams(members as [string, string][])}`;
  };
  return html`<nav aria-label="Pages"><span>${isLater ? html`<a href="${link(undefined)}">← Newest</a>` : undefined}</span>
<span>${next ? html`<a href="${link(encodeCursor(next))}">Older →</a>` : undefined}</span></nav>`;
}

function headingOf(message: Summary): string {
  return message.subject || '(no subject)';
}

function facts(message: InboxMessage, application: string): Html {
  const { content } = message;
  const files = content.kind === 'email' ? (content.attachments ?? []) : [];
  const rows: [string, Html | string | undefined][] = [
    ['From', message.sender ?? undefined],
    ['To', message.address],
    ['Reply to', content.kind === 'email' ? content.replyTo?.join(', ') : undefined],
    ['Received', timeTag(message.receivedAt)],
    ['Channel', message.channel],
    ['Application', application],
    ['Attachments', files.map(({ filename }) => filename).join(', ')],
  ];
  return html`<dl class="card">${rows.map(([name, value]) =>
    value ? html`<dt>${name}</dt><dd>${value}</dd>` : undefined,
  )}</dl>`;
}

function contentOf({ id, content }: InboxMessage): Html {
  if (content.kind !== 'email') return html`<h2>Text</h2><pre class="card">${content.body}</pre>`;
  if (content.rawBase64 !== undefined) {
    const raw = Buffer.from(content.rawBase64, 'base64').toString().slice(0, maxRawChars);
    return html`<h2>Message as it was handed in</h2><pre class="card">${raw}</pre>`;
  }
  const { html: page, text } = content;
  return html`${
    page === undefined
      ? undefined
      : html`<h2>HTML</h2><div class="card"><iframe src="/inbox/${id}/html" sandbox="${frameRights}" title="HTML part of the message"></iframe></div>`
  }${text === undefined ? undefined : html`<h2>Text</h2><pre class="card">${text}</pre>`}`;
}

function timelineList(timeline: Timeline): Html {
  return html`<h2>What happened</h2>
<ol class="timeline card">${timeline.map(
    ({ at, event, words, attempt, retryAt, machine, url }) => html`
<li>${timeTag(at, 'time')}<strong>${event}</strong><span>${[
      attempt && `attempt ${attempt}`,
      words,
      machine && 'by a machine',
      url,
      retryAt && `next attempt at ${timeText(new Date(retryAt)).slice(11)}`,
    ]
      .filter(Boolean)
      .join(' · ')}</span></li>`,
  )}
</ol>`;
}

function timeTag(at: Date, form: 'date' | 'time' = 'date'): Html {
  const [date, time] = timeText(at).split(' ');
  const text =
    form === 'time' ? at.toISOString().slice(11, 23) : html`<span>${date} </span>${time}<span> UTC</span>`;
  return html`<time datetime="${at.toISOString()}" title="${at.toISOString()}">${text}</time>`;
}

function timeText(at: Date): string {
  return at.toISOString().slice(0, 19).replace('T', ' ');
}

/** A browser is shown a page for what went wrong; programs get the problem itself. */
const sendErrorPage: SendProblem = (problem, request, reply) => {
  if (!request.headers.accept?.includes('text/html')) return sendProblem(problem, request, reply);
  const { status, title, code, detail } = problem;
  const body =
    code === 'unauthenticated'
      ? html`<h1>Sign in with an access key</h1>
<p>The user name is the id of an access key, the password its secret. The first start printed one; <code>npm run postrider -- keys create inbox</code> makes another.</p>
<p><a href="/inbox">Try again</a></p>`
      : html`<h1>${title}</h1>
<p>${detail}</p>
<p><a href="/inbox">Inbox</a></p>`;
  sendPage(reply.code(status), { title, body });
};
