/** A record as an outlet takes it. */
export interface OutgoingRecord {
  /** The same for every repeat. */
  id: string;
  /** Records with the same key are kept in order. */
  key: string;
  /** Milliseconds: the hour in which it is filed. */
  arrivedAt: number;
  json: string;
}

/** What became of one record: taken, refused for what it is (`tooLong`: for its size), or not taken for now. */
export type PutResult = 'accepted' | { refused: string; tooLong?: boolean } | { failed: string };

export interface OutletLimits {
  /** Of one request. */
  records: number;
  bytes: number;
  /** Of one record; a longer one is refused without asking. */
  recordBytes: number;
  /** Added to each record on the way. */
  overheadBytes: number;
  /** Requests at once; the records of one key never travel in two of them. */
  concurrency: number;
  /**
   * `request`: a request is taken or refused as a whole, in its order. `key`: one record may fail while a later one is
   * taken, so of each key one record at most goes into a request. `none`: the same, and the order does not matter.
   */
  order: 'request' | 'key' | 'none';
}

/** An open way to one destination. */
export interface Outlet {
  readonly limits: OutletLimits;
  /**
   * Hands records over; resolves with one result for each, in order.
   * @throws OutletError when none was taken
   */
  put(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<PutResult[]>;
  close(): Promise<void>;
}

/**
 * Why a whole request was not taken. `unavailable`: for now, whatever is in it. `refused`: for something in it.
 * `gone`: the receiver wants no more requests, ever. The message is shown to the stream's owner.
 */
export class OutletError extends Error {
  readonly reason: 'unavailable' | 'refused' | 'gone';
  /** The receiver's own word on when to come back. */
  readonly retryAfterMs: number | undefined;

  constructor(reason: OutletError['reason'], message: string, retryAfterMs?: number) {
    super(message);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

const shownBytes = 300;

/** The beginning of an answer, in one line. */
export function shownBody(body: Buffer): string {
  return body.subarray(0, shownBytes).toString().replace(/\s+/g, ' ').trim();
}
