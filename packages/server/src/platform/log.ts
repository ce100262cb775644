import pino from 'pino';

/** Structured log of a process. Secrets never reach it: settings and headers that hold some are redacted here. */
export type Log = pino.Logger;

export function createLog(options: { role: string; level: string }): Log {
  return pino({
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
  });
}

/** For tests and one-shot commands that speak for themselves. */
export const silentLog: Log = pino({ level: 'silent' });
