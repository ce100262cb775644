import nodemailer from 'nodemailer';
import { html, subject } from './campaign.ts';
import { timed } from './figures.ts';
import type { SmtpSink } from './smtp-sink.ts';

/**
 * What a script would do: the pool of nodemailer with 20 connections, and texts that are ready but for two words.
 * Milliseconds of all.
 */
export async function sendBare(sink: SmtpSink, count: number): Promise<number> {
  const pool = nodemailer.createTransport({
    pool: true,
    host: '127.0.0.1',
    port: sink.port,
    maxConnections: 20,
    maxMessages: Number.POSITIVE_INFINITY,
    secure: false,
    ignoreTLS: true,
  });
  const fill = (text: string, n: number) =>
    text.replaceAll('{{Attributes.FirstName}}', 'Ada').replaceAll('{{User.UserId}}', `user-${n}`);
  let next = 0;
  const sender = async () => {
    for (let n = next++; n < count; n = next++) {
      await pool.sendMail({
        from: 'bench@example.com',
        to: `person${n}@example.com`,
        subject: fill(subject, n),
        html: fill(html, n),
        text: fill('Hello {{Attributes.FirstName}}', n),
      });
    }
  };
  const ms = await timed(() => Promise.all(Array.from({ length: 40 }, sender)));
  pool.close();
  return ms;
}
