import net, { type AddressInfo, type Socket } from 'node:net';

/** What a client said, or that it connected, sent a piece of content, or finished it. */
export type ScriptEvent = 'connect' | 'chunk' | 'content' | (string & {});

/**
 * What the server does: a text is sent (with CRLF) and the conversation goes on, `close` breaks the connection, `hang`
 * says nothing more, `trickle` sends a text byte by byte without ever ending the line; undefined is a plain server's reply.
 */
export type ScriptAnswer =
  | string
  | { do: 'close' | 'hang'; after?: string }
  | { do: 'trickle'; text: string }
  | { do: 'raw'; text: string }
  | { do: 'wait'; ms: number; then?: string }
  | undefined;

export interface ReceivedMail {
  from: string;
  to: string[];
  /** Dot-unstuffed. */
  raw: Buffer;
  /** Number of the connection, from 1. */
  connection: number;
}

export interface ScriptedServer {
  port: number;
  mails: ReceivedMail[];
  /** All lines that clients said, with their connection's number. */
  lines: { connection: number; line: string }[];
  connections: number;
  mostAtOnce: number;
  /** Connections that are open now. */
  open(): number;
  /** Breaks all connections from the server's side. */
  dropAll(): void;
  stop(): Promise<void>;
}

export type Script = (event: ScriptEvent, argument: string, connection: number) => ScriptAnswer;

/** An SMTP server that does what a script says: what real servers do only on bad days. */
export async function startScriptedServer(
  script: Script,
  options: { extensions?: string[] } = {},
): Promise<ScriptedServer> {
  const extensions = options.extensions ?? ['PIPELINING', '8BITMIME', 'SMTPUTF8'];
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    // A pipelined conversation has many small replies.
    socket.setNoDelay(true);
    socket.once('close', () => sockets.delete(socket));
    state.connections += 1;
    state.mostAtOnce = Math.max(state.mostAtOnce, sockets.size);
    new Conversation(socket, script, extensions, state, state.connections).begin();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const state: ScriptedServer = {
    port: (server.address() as AddressInfo).port,
    mails: [],
    lines: [],
    connections: 0,
    mostAtOnce: 0,
    open: () => sockets.size,
    dropAll() {
      for (const socket of sockets) socket.destroy();
    },
    stop() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return state;
}

class Conversation {
  readonly #socket: Socket;
  readonly #script: Script;
  readonly #extensions: string[];
  readonly #server: ScriptedServer;
  readonly #number: number;
  #buffer = Buffer.alloc(0);
  #from = '';
  #to: string[] = [];
  #inContent = false;
  /** Nothing is answered any more. */
  #silent = false;
  #waiting = false;

  constructor(socket: Socket, script: Script, extensions: string[], server: ScriptedServer, number: number) {
    this.#socket = socket;
    this.#script = script;
    this.#extensions = extensions;
    this.#server = server;
    this.#number = number;
  }

  begin(): void {
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      if (this.#inContent) this.#answer('chunk', '', undefined);
      this.#consume();
    });
    this.#answer('connect', '', '220 scripted ESMTP');
  }

  #consume(): void {
    while (!this.#silent && !this.#waiting) {
      if (this.#inContent) {
        // An empty content has its final dot at the very beginning.
        const end = this.#buffer.subarray(0, 3).equals(Buffer.from('.\r\n'))
          ? -2
          : this.#buffer.indexOf('\r\n.\r\n');
        if (end === -1) return;
        const raw = Buffer.from(
          this.#buffer.toString('latin1', 0, Math.max(0, end + 2)).replace(/^\.\./gm, '.'),
          'latin1',
        );
        this.#buffer = this.#buffer.subarray(end + 5);
        this.#inContent = false;
        const mail = { from: this.#from, to: this.#to, raw, connection: this.#number };
        this.#answer('content', this.#to.join(','), '250 2.0.0 Ok: queued as Q1', () =>
          this.#server.mails.push(mail),
        );
        continue;
      }
      const end = this.#buffer.indexOf('\r\n');
      if (end === -1) return;
      const line = this.#buffer.toString('utf8', 0, end);
      this.#buffer = this.#buffer.subarray(end + 2);
      this.#server.lines.push({ connection: this.#number, line });
      this.#command(line);
    }
  }

  #command(line: string): unknown {
    const verb = line.split(/[ :]/)[0]!.toUpperCase();
    const argument = /<([^>]*)>/.exec(line)?.[1] ?? line.slice(verb.length + 1);
    switch (verb) {
      case 'EHLO': {
        const lines = ['scripted', ...this.#extensions];
        const reply = lines.map((text, i) => `250${i === lines.length - 1 ? ' ' : '-'}${text}`).join('\r\n');
        return this.#answer(verb, argument, reply);
      }
      case 'MAIL':
        return this.#answer(verb, argument, '250 2.1.0 Ok', () => {
          this.#from = argument;
          this.#to = [];
        });
      case 'RCPT':
        return this.#answer(verb, argument, '250 2.1.5 Ok', () => this.#to.push(argument));
      case 'DATA':
        if (this.#to.length === 0) return this.#answer(verb, argument, '503 5.5.1 no recipients');
        return this.#answer(verb, this.#to.join(','), '354 go on', () => {
          this.#inContent = true;
        });
      case 'RSET':
        this.#to = [];
        return this.#answer(verb, argument, '250 2.0.0 Ok');
      case 'QUIT':
        return this.#answer(verb, argument, '221 2.0.0 Bye', () => this.#socket.end());
      default:
        return this.#answer(verb, argument, '502 5.5.2 unknown');
    }
  }

  /** `effect` happens when the answer is a good one (2xx, 3xx). */
  #answer(event: ScriptEvent, argument: string, plain: string | undefined, effect?: () => void): void {
    const answer = this.#script(event, argument, this.#number) ?? plain;
    if (answer === undefined || this.#silent) return;
    if (typeof answer === 'string') {
      this.#socket.write(`${answer}\r\n`);
      if (/^[23]/.test(answer)) effect?.();
      return;
    }
    switch (answer.do) {
      case 'raw':
        this.#socket.write(answer.text);
        return;
      case 'wait':
        this.#waiting = true;
        setTimeout(() => {
          this.#waiting = false;
          const text = answer.then ?? plain;
          if (text !== undefined && !this.#socket.destroyed) {
            this.#socket.write(`${text}\r\n`);
            if (/^[23]/.test(text)) effect?.();
          }
          this.#consume();
        }, answer.ms);
        return;
      case 'trickle':
        this.#silent = true;
        this.#trickle(answer.text, 0);
        return;
      default:
        if (answer.after !== undefined) this.#socket.write(answer.after);
        this.#silent = true;
        if (answer.do === 'close') this.#socket.end();
    }
  }

  #trickle(text: string, at: number): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(text[at % text.length]!);
    setTimeout(() => this.#trickle(text, at + 1), 20);
  }
}
