import { pipeline } from 'node:stream/promises';
import { Writable } from 'node:stream';
import type pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { sessionSql } from './chunk-sql.ts';

/** Cells as PostgreSQL's text; no type is interpreted. */
export type TextRow = readonly (string | null)[];

/** The little of SQL that the chunk reader needs. */
export interface SnapshotSession {
  readonly serverVersion: number;
  /** One statement with parameters. */
  query(sql: string, values?: readonly unknown[]): Promise<readonly TextRow[]>;
  /** Statements without parameters or results, in one round trip. */
  run(sql: string): Promise<void>;
  /** Hands over the bytes of COPY … TO STDOUT as they come; what `take` throws ends the session. */
  copy(sql: string, take: (bytes: Buffer) => void): Promise<void>;
  close(): Promise<void>;
}

const closeTimeoutMs = 2_000;
const asText = { getTypeParser: () => (value: string | Buffer) => String(value) };

/** Prepares a connected client for reading chunks and takes it over: `close` ends it. */
export async function openSnapshotSession(client: pg.Client): Promise<SnapshotSession> {
  // A backend that is killed between two queries reports itself here too; the next query fails.
  client.on('error', () => undefined);
  const query = async (sql: string, values: readonly unknown[] = []) => {
    const result = await client.query<(string | null)[]>({
      text: sql,
      values: [...values],
      rowMode: 'array',
      types: asText,
    });
    return result.rows;
  };
  let isCopying = false;
  await client.query(sessionSql);
  const [version] = await query(`select current_setting('server_version_num')`);
  return {
    serverVersion: Number(version?.[0]),
    query,
    run: async (sql) => {
      await client.query(sql);
    },
    copy: async (sql, take) => {
      isCopying = true;
      await copyRows(client, sql, take);
      isCopying = false;
    },
    close: async () => {
      if (isCopying) dropConnection(client);
      await closeClient(client);
    },
  };
}

/** In the middle of a COPY the server reads nothing: a farewell would wait for the last row. */
function dropConnection(client: pg.Client): void {
  const { connection } = client as pg.Client & { readonly connection: pg.Connection };
  connection.stream.destroy();
}

async function copyRows(
  client: pg.Client,
  sql: string,
  take: (bytes: Buffer) => void,
): Promise<void> {
  const rows = client.query(copyTo(sql));
  const sink = new Writable({
    write: (bytes: Buffer, _, done) => {
      try {
        take(bytes);
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
  // A connection that ends in the middle of a COPY tells the client, not always the stream.
  const lost = Promise.withResolvers<never>();
  const onEnd = () => {
    lost.reject(new Error('Connection terminated during COPY'));
  };
  client.once('end', onEnd);
  try {
    await Promise.race([pipeline(rows, sink), lost.promise]);
  } finally {
    client.removeListener('end', onEnd);
  }
}

async function closeClient(client: pg.Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, closeTimeoutMs);
  client.end().then(resolve, () => {
    resolve();
  });
  await promise;
  clearTimeout(timer);
}
