import type { FastifyInstance, FastifyReply } from 'fastify';
import { authorize, visibleApplications } from '../../accounts/index.ts';
import { getInboxMessage, listInbox } from '../../messaging/index.ts';
import { CallerError, notFound } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { decodeCursor, encodeCursor, isUuid } from './schema.ts';

type InboxMessage = NonNullable<Awaited<ReturnType<typeof getInboxMessage>>>;

/** Mails are shown in a frame without scripts, forms or a way to this origin. */
const pagePolicy =
  "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; img-src data:; form-action 'self'";
const mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** One plain page that shows what the sandbox received; it asks for an access key as user name and its secret. */
export function inboxPage(api: FastifyInstance, { database }: ApiContext): void {
  const config = { action: 'postrider:ListInbox' };
  api.get<{ Querystring: { app?: string; address?: string; cursor?: string } }>(
    '/inbox',
    { config, schema: { hide: true } },
    async ({ query, principal }, reply) => {
      const applicationId = applicationOf(principal, query.app);
      const before = decodeCursor(query.cursor, isUuid);
      const address = query.address?.trim() || undefined;
      const { messages, next } = await listInbox(database, { applicationId, address, before, limit: 100 });
      const rows = messages.map(
        (
          message,
        ) => `<tr><td><time>${message.receivedAt.toISOString().slice(0, 19).replace('T', ' ')}</time></td>
<td>${escapeHtml(message.channel)}</td><td>${escapeHtml(message.address)}</td>
<td><a href="/inbox/${message.id}">${escapeHtml(message.subject || '(no subject)')}</a></td></tr>`,
      );
      const more = next
        ? `<p><a href="?${new URLSearchParams({ ...query, cursor: encodeCursor(next) })}">Older messages</a></p>`
        : '';
      const empty =
        '<p class="empty">Nothing here yet. What is sent on a channel without an active provider account arrives here.</p>';
      const table = `<table><thead><tr><th>Received (UTC)</th><th>Channel</th><th>To</th><th>Subject or text</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table>`;
      const search = `<form><label>Address <input name="address" value="${escapeHtml(address ?? '')}" autocomplete="off"></label>
${query.app ? `<input type="hidden" name="app" value="${escapeHtml(query.app)}">` : ''}<button>Search</button></form>`;
      return sendPage(reply, 'Inbox', `${search}${messages.length > 0 ? table : empty}${more}`);
    },
  );
  api.get<{ Params: { id: string } }>(
    '/inbox/:id',
    { config, schema: { hide: true } },
    async ({ params, principal }, reply) => {
      const message = await readable(params.id, principal);
      const { content } = message;
      const facts = [
        ['Channel', message.channel],
        ['From', message.sender ?? '–'],
        ['To', message.address],
        [
          'Subject',
          content.kind === 'email' ? (message.subject ?? '') : ('title' in content && content.title) || '–',
        ],
        ['Received', message.receivedAt.toISOString()],
        ['Message', message.messageId],
      ];
      const list = facts
        .map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(value ?? '')}</dd>`)
        .join('');
      return sendPage(
        reply,
        message.subject || 'Message',
        `<p><a href="/inbox">← Inbox</a></p><dl>${list}</dl>${bodyOf(message)}`,
      );
    },
  );
  api.get<{ Params: { id: string } }>(
    '/inbox/:id/html',
    { config, schema: { hide: true } },
    async ({ params, principal }, reply) => {
      const { content } = await readable(params.id, principal);
      if (content.kind !== 'email' || content.html === undefined)
        throw notFound('HTML part of message', params.id);
      return reply
        .header('content-security-policy', mailPolicy)
        .type('text/html; charset=utf-8')
        .send(content.html);
    },
  );

  async function readable(id: string, principal: Parameters<typeof authorize>[0]): Promise<InboxMessage> {
    const message = await getInboxMessage(database, id);
    if (!message) throw notFound('Inbox message', id);
    authorize(principal, 'postrider:GetInboxMessage', message.applicationId);
    return message;
  }
}

/** The application whose inbox is shown; undefined shows all, which only a key for all applications may see. */
function applicationOf(
  principal: Parameters<typeof authorize>[0],
  wanted: string | undefined,
): string | undefined {
  const visible = visibleApplications(principal);
  if (wanted !== undefined) authorize(principal, 'postrider:ListInbox', wanted);
  if (wanted !== undefined || visible === undefined) return wanted;
  if (visible.length === 1) return visible[0];
  throw new CallerError('bad_request', `Name the application: /inbox?app=<id>, one of ${visible.join(', ')}`);
}

function bodyOf({ id, content }: InboxMessage): string {
  if (content.kind !== 'email') return `<pre>${escapeHtml(content.body)}</pre>`;
  if (content.rawBase64 !== undefined) {
    return `<h2>Raw message</h2><pre>${escapeHtml(Buffer.from(content.rawBase64, 'base64').toString().slice(0, 200_000))}</pre>`;
  }
  const html =
    content.html === undefined
      ? ''
      : `<h2>HTML</h2><iframe src="/inbox/${id}/html" sandbox title="HTML part"></iframe>`;
  const text = content.text === undefined ? '' : `<h2>Text</h2><pre>${escapeHtml(content.text)}</pre>`;
  const files = (content.attachments ?? [])
    .map(({ filename }) => `<li>${escapeHtml(filename)}</li>`)
    .join('');
  return `${html}${text}${files ? `<h2>Attachments</h2><ul>${files}</ul>` : ''}`;
}

const style = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid #8884;vertical-align:top;overflow-wrap:anywhere}
time{white-space:nowrap;font-variant-numeric:tabular-nums}form{margin-bottom:1rem}input,button{font:inherit;padding:.25rem .5rem}
iframe{width:100%;height:28rem;border:1px solid #8884;background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #8884;padding:1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}.empty{opacity:.7}`;

function sendPage(reply: FastifyReply, title: string, body: string): FastifyReply {
  return reply
    .header('content-security-policy', pagePolicy)
    .header('cache-control', 'no-store')
    .type('text/html; charset=utf-8')
    .send(
      `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)} · Postrider</title><style>${style}</style></head><body><h1>${escapeHtml(title)}</h1>${body}</body></html>`,
    );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
