import { appendFileSync, openSync } from 'node:fs';
import { SMTPServer } from 'smtp-server';

/**
 * A mail server that writes down what it does, as a process of its own: `node sink.ts <file> <share of 451> <delay of
 * the reply in ms>`. It prints its port. Each line of the file is `accepted|refused <message id> <recipient>`, written before the reply, so
 * that what a client was told is in the file.
 */
const file = process.argv[2]!;
const [share, delayMs] = [Number(process.argv[3] ?? '0'), Number(process.argv[4] ?? '0')];
const out = openSync(file, 'a');
const refusals = new Map<string, number>();

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  size: 10_000_000,
  onData(stream, session, callback) {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const head = Buffer.concat(chunks).toString('latin1').split('\r\n\r\n', 1)[0]!;
      const id = /^message-id:\s*<([0-9a-f-]{36})@/im.exec(head)?.[1] ?? 'unknown';
      const recipient = session.envelope.rcptTo.map(({ address }) => address).join(',');
      const refused = refusals.get(id) ?? 0;
      // Which messages are refused depends on the recipient alone, so that a run can be repeated.
      if (refused < 1 && hash(recipient) % 1000 < share * 1000) {
        refusals.set(id, refused + 1);
        appendFileSync(out, `refused ${id} ${recipient}\n`);
        callback(Object.assign(new Error('4.3.0 Try again in 2 seconds'), { responseCode: 451 }));
        return;
      }
      appendFileSync(out, `accepted ${id} ${recipient}\n`);
      setTimeout(() => callback(null, `2.0.0 Ok: queued as ${id}`), delayMs);
    });
  },
});

function hash(text: string): number {
  let value = 2_166_136_261;
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 16_777_619) >>> 0;
  return value;
}

// Clients that are killed leave broken connections behind.
server.on('error', () => undefined);

server.listen(0, '127.0.0.1', () => console.log((server.server.address() as { port: number }).port));
