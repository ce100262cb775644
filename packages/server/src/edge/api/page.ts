import type { FastifyReply } from 'fastify';

/** HTML that is safe to send: made by `html` only. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | readonly Part[];

/** HTML from a template in which every value is escaped, unless `html` made it. Lists are joined; undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Part[]): Html {
  return new Html(strings.map((text, index) => text + textOf(values[index])).join(''));
}

function textOf(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (Array.isArray(part)) return part.map(textOf).join('');
  return String(part).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Pages have no scripts; what they frame comes from this origin, in a sandbox. */
const policy =
  "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/** Answers with one of our own pages; `note` stands beside the name of the page. */
export function sendPage(
  reply: FastifyReply,
  page: { title: string; note?: string; body: Html },
): FastifyReply {
  const { title, note, body } = page;
  return reply
    .header('content-security-policy', policy)
    .header('cache-control', 'no-store')
    .header('referrer-policy', 'no-referrer')
    .type('text/html; charset=utf-8')
    .send(
      html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Postrider</title>
<link rel="icon" href="${icon}">
<style>${style}</style>
</head>
<body>
<header><a class="home" href="/inbox">Postrider</a>${note ? html`<span class="note">${note}</span>` : undefined}</header>
<main>${body}</main>
</body>
</html>
`.text,
    );
}

const icon = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b6e4f"/><path d="M6 10h20v13H6z" fill="#fff"/><path d="m6 10 10 8 10-8" fill="none" stroke="#0b6e4f" stroke-width="2"/></svg>',
)}`;

const style = new Html(`
:root { color-scheme: light dark; --ground: light-dark(#f6f7f6, #161917); --paper: light-dark(#fff, #1f2421);
  --ink: light-dark(#1b211e, #e8ece9); --faint: light-dark(#5c6761, #9aa69f); --line: light-dark(#dfe4e1, #343b37);
  --accent: light-dark(#0b6e4f, #63c9a2); --hover: light-dark(#eef4f1, #28302c); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header { display: flex; gap: .25rem 1rem; align-items: baseline; flex-wrap: wrap; padding: .75rem max(1rem, 50vw - 30rem);
  background: var(--paper); border-bottom: 1px solid var(--line); }
main { max-width: 62rem; margin: 0 auto; padding: 1.25rem 1rem 4rem; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
.home { font-weight: 700; text-decoration: none; }
.note, .faint { color: var(--faint); font-size: .9rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin-bottom: 1rem; }
label { display: grid; gap: .15rem; font-size: .85rem; color: var(--faint); }
label.wide { flex: 1 1 16rem; }
input, select, button { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem .65rem; min-height: 2.5rem; width: 100%; }
button { background: var(--accent); color: light-dark(#fff, #10211a); border-color: transparent; font-weight: 600; width: auto;
  padding-inline: 1rem; cursor: pointer; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.messages { list-style: none; margin: 0; padding: 0; }
.messages li + li { border-top: 1px solid var(--line); }
.messages a { display: grid; grid-template-columns: 4.5rem minmax(9rem, 17rem) 1fr auto; gap: 0 1rem; align-items: center;
  padding: .55rem 1rem; color: inherit; text-decoration: none; }
.messages a:hover { background: var(--hover); }
.messages a:focus-visible { outline-offset: -3px; }
.to, .subject { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.subject { font-weight: 600; }
time { color: var(--faint); font-size: .9rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.channel { justify-self: start; font-size: .7rem; font-weight: 700; letter-spacing: .04em; color: var(--accent);
  border: 1px solid; border-radius: 999px; padding: 0 .5rem; }
.empty { padding: 3rem 1.5rem; text-align: center; color: var(--faint); }
.empty strong { display: block; color: var(--ink); font-size: 1.1rem; }
nav { display: flex; justify-content: space-between; gap: 1rem; margin-top: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0; padding: .9rem 1rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
iframe { display: block; width: 100%; height: 16rem; border: 0; background: #fff; resize: vertical; }
pre { margin: 0; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; font: .9rem/1.5 ui-monospace, monospace; }
.timeline { list-style: none; margin: 0; padding: .5rem 1rem; }
.timeline li { display: grid; grid-template-columns: 7.5rem 6rem 1fr; gap: 0 1rem; padding: .3rem 0; align-items: baseline; }
.timeline strong { font-weight: 600; }
code { font: .9em ui-monospace, monospace; }
@media (max-width: 40rem) {
  .messages a { grid-template-columns: 1fr auto; gap: .1rem .75rem; padding: .7rem 1rem; align-items: center; }
  .messages .subject { grid-area: 1 / 1; }
  .messages .channel { grid-area: 1 / 2; }
  .messages .to { grid-area: 2 / 1; }
  .messages time { grid-area: 2 / 2; }
  .messages time span { display: none; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  .timeline li { grid-template-columns: 1fr auto; }
  .timeline span { grid-column: 1 / -1; }
}
`);
