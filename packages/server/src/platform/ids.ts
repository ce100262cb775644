import { randomBytes, randomFillSync } from 'node:crypto';

let lastMs = 0;
let sequence = 0;

/** Randomness is drawn for many ids at once: a call for each would cost more than the rest of it. */
const pool = Buffer.alloc(16 * 256);
let poolAt = pool.length;

function randomBlock(): Buffer {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += 16;
  return pool.subarray(poolAt - 16, poolAt);
}

/**
 * A UUIDv7 (RFC 9562, method 1 with a 12-bit counter): sorts by the time of its making, also within one
 * millisecond of this process.
 */
export function uuidv7(now: number = Date.now()): string {
  const bytes = randomBlock();
  if (now > lastMs) {
    lastMs = now;
    sequence = bytes.readUInt16BE(6) & 0x3ff;
  } else {
    sequence += 1;
    if (sequence > 0xfff) {
      lastMs += 1;
      sequence = 0;
    }
  }
  bytes.writeUIntBE(lastMs, 0, 6);
  bytes.writeUInt16BE(0x7000 | sequence, 6);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The millisecond in which a UUIDv7 was made. */
export function uuidTime(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

const endOf9999 = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/**
 * Below every UUIDv7 of this millisecond and above all of those before.
 * @param at from 1970 to 9999, since `uuidDay` writes four digits of a year; what is beyond counts as the nearest of these
 */
export function firstIdAt(at: number): string {
  const hex = Math.min(Math.max(0, at), endOf9999).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** The UTC day (`2026-11-21`) of a UUIDv7: the partition in which its row lies. */
export function uuidDay(id: string): string {
  return new Date(uuidTime(id)).toISOString().slice(0, 10);
}

/** 32 lower-case hex characters: the form of Pinpoint's project, campaign, segment and job ids. */
export function hexId(): string {
  return randomBytes(16).toString('hex');
}

export { randomBytes };
