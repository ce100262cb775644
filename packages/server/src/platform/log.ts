import pino, { type DestinationStream } from 'pino';

/** Structured log of a process. Secrets never reach it: settings and headers that hold some are redacted here. */
export type Log = pino.Logger;

/** JSON lines on stdout; on a terminal, lines for people. */
export function createLog(options: { role: string; level: string }): Log {
  return pino(optionsOf(options), process.stdout.isTTY ? terminal : pino.destination({ fd: 1, sync: true }));
}

function optionsOf(options: { role: string; level: string }): pino.LoggerOptions {
  return {
    level: options.level,
    base: { role: options.role, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: [
        '*.password',
        '*.secret',
        '*.secretAccessKey',
        '*.authorization',
        'headers.authorization',
        '*.token',
      ],
      censor: '[redacted]',
    },
  };
}

const terminal: DestinationStream = { write: (line) => void process.stdout.write(forPeople(line)) };

/** `23:55:18 worker Campaign started (audienceSize 1920)`, from a line of JSON. */
export function forPeople(line: string): string {
  const { level, time, role, pid: _, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const severity = Number(level) === 30 ? '' : ` ${pino.levels.labels[Number(level)]?.toUpperCase()}`;
  const details = Object.entries(rest).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const { stack, message } = (err ?? {}) as { stack?: string; message?: string };
  return `${String(time).slice(11, 19)} ${role}${severity} ${msg ?? ''}${
    details.length > 0 ? ` (${details.join(', ')})` : ''
  }\n${err ? `${stack ?? message ?? JSON.stringify(err)}\n` : ''}`;
}

/** For tests and one-shot commands that speak for themselves. */
export const silentLog: Log = pino({ level: 'silent' });
