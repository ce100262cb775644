import pg from 'pg';

/** Anything that runs a statement: the pool, or the one connection of a transaction. */
export interface Queryable {
  // biome-ignore lint/suspicious/noExplicitAny: a row has the shape of its statement, which only the caller knows.
  query<Row extends pg.QueryResultRow = any>(
    statement: string | { text: string; values?: unknown[]; name?: string },
    values?: unknown[],
  ): Promise<pg.QueryResult<Row>>;
}

export type Transaction = pg.PoolClient;

/** A pool of connections to PostgreSQL, with the few things that rooms do with it. */
export interface Database extends Queryable {
  /** Runs `work` in a transaction: commits when it returns, rolls back when it throws. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** A connection of its own, for COPY and session locks; `release()` it. */
  connect(): Promise<pg.PoolClient>;
  close(): Promise<void>;
  readonly pool: pg.Pool;
}

export interface DatabaseOptions {
  url: string;
  /** Upper bound of connections of this process. */
  maxConnections: number;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** A connection broke. What was running on it has rejected as well. */
  onError?: (error: Error) => void;
}

// int8 as number: no count or position of ours passes 2^53. numeric stays a string.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);
// date as the string it is (`2026-11-21`); as a Date it would be shifted by the zone of the process.
pg.types.setTypeParser(pg.types.builtins.DATE, (value) => value);

export function openDatabase(options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections,
    application_name: options.applicationName,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    // By statement and not by start-up options, which PgBouncer refuses. jit costs more than it gains on statements of
    // milliseconds.
    onConnect: async (client: pg.ClientBase) => {
      await client.query("set jit = off; set timezone = 'UTC'");
    },
  });
  let closing = false;
  // A connection that breaks (server restarted) is dropped by the pool, and a running statement rejects. Without
  // listeners it would end the process. The pool's event is about idle connections only, so the client's is reported.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    client.on('error', (error) => {
      if (!closing) options.onError?.(error);
    });
  });
  return {
    pool,
    query: ((statement: string, values?: unknown[]) => pool.query(statement, values)) as Queryable['query'],
    connect: () => pool.connect(),
    close: () => {
      closing = true;
      return pool.end();
    },
    transaction: (work) => inTransaction(pool, work),
  };
}

async function inTransaction<T>(pool: pg.Pool, work: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // A connection that breaks while it is ours says so by an event; the running statement rejects as well.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

/** A deadlock has a victim now and then, and seldom twice in a row. */
const maxConflicts = 10;

/**
 * As `database.transaction`, and once more when it came into conflict with another (a deadlock whose victim it was):
 * nothing of it was done then. `work` may be called several times.
 */
export async function repeatableTransaction<T>(
  database: Pick<Database, 'transaction'>,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  for (let conflicts = 1; ; conflicts++) {
    try {
      return await database.transaction(work);
    } catch (error) {
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
    }
  }
}

/** Was the transaction undone because of others that ran at the same time, so that it may be tried again at once? */
export function isConflict(error: unknown): boolean {
  const code = (error as { code?: string } | null)?.code;
  return code === '40P01' || code === '40001';
}

/**
 * Runs a statement and hands each row on as it arrives, without keeping it: for answers that are too large to be held.
 * When `take` throws, the rest of the answer is read past and the error is thrown.
 */
export function eachRow<Row>(
  tx: Transaction,
  statement: { text: string; values?: unknown[] },
  take: (row: Row) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const query = new pg.Query<pg.QueryResultRow>({ text: statement.text, values: statement.values });
    let failure: unknown;
    query.on('row', (row) => {
      if (failure !== undefined) return;
      try {
        take(row as Row);
      } catch (error) {
        failure = error;
      }
    });
    query.on('end', () => (failure === undefined ? resolve() : reject(failure)));
    query.on('error', reject);
    tx.query(query);
  });
}

/**
 * Resolves when the database answers; it may be starting or recovering.
 * @throws the last error after `limitMs`, and at once an error that waiting does not mend (wrong password).
 */
export async function untilReachable(database: Queryable, limitMs: number): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    try {
      await database.query('select 1');
      return;
    } catch (error) {
      if (!isConnectionError(error) || performance.now() - startedAt > limitMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const unreachableCodes = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOENT', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'],
]);

/** Is this the error of a connection that went away (server stopped, killed or restarted), so that trying again later can help? */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as Error & { code?: string }).code ?? '';
  return (
    /^(08|57P0)/.test(code) ||
    unreachableCodes.has(code) ||
    /Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|not queryable/.test(
      error.message,
    )
  );
}
