import mysql from 'mysql2/promise';
import type { PoolConnection } from 'mysql2/promise';
import { config } from '../config';

/** How long the health endpoint waits for the database, and every other request, in ms. */
export const PING_LIMIT_MS = 1000;
export const QUERY_LIMIT_MS = 5000;

export const pool = mysql.createPool({
  ...config.database,
  charset: 'utf8mb4',
  timezone: 'Z',
  dateStrings: true,
  connectionLimit: 10,
  queueLimit: 200,
  connectTimeout: PING_LIMIT_MS,
  enableKeepAlive: true,
});

class DatabaseTimeout extends Error {
  code = 'ETIMEDOUT';
  constructor(limitMs: number) {
    super(`Database did not answer within ${limitMs} ms`);
    this.name = 'DatabaseTimeout';
  }
}

/**
 * Lend a pooled connection to `work` and bound everything: waiting for the connection, connecting and the work.
 * A connection that ran over is destroyed, because what it is still waiting for would answer the next borrower.
 */
export async function withConnection<T>(limitMs: number, work: (connection: PoolConnection) => Promise<T>): Promise<T> {
  let connection: PoolConnection | undefined;
  let expired = false;
  let timer: NodeJS.Timeout | undefined;

  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      expired = true;
      connection?.destroy();
      reject(new DatabaseTimeout(limitMs));
    }, limitMs);
  });
  const done = (async () => {
    const lent = await pool.getConnection();
    if (expired) {
      lent.release();
      throw new DatabaseTimeout(limitMs);
    }
    connection = lent;
    try {
      return await work(lent);
    } finally {
      connection = undefined;
      if (!expired) lent.release();
    }
  })();
  done.catch(() => undefined); // when the deadline won, nobody else listens to this one

  try {
    return await Promise.race([done, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

export async function ping(): Promise<void> {
  await withConnection(PING_LIMIT_MS, (connection) => connection.query('SELECT 1'));
}

/** Run one statement; `??` stands for identifiers and `?` for values, both escaped by the driver. */
export async function query(sql: string, values: unknown[] = []): Promise<any> {
  return withConnection(QUERY_LIMIT_MS, async (connection) => (await connection.query(sql, values))[0]);
}
