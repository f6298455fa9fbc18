import pg from 'pg';

import { translateSourceError } from './errors.ts';

export interface ConnectionOptions {
  /** `postgres://user:password@host:port/database?sslmode=…` */
  readonly url: string;
  readonly connectTimeoutMs?: number;
}

/** An SQL session; its text output is the same as the replication stream's. */
export type SqlSession = pg.Client;

const connectTimeoutMsDefault = 10_000;

/**
 * Settings that decide how PostgreSQL writes values as text. The stream and the snapshot use the same,
 * so one value has one text whichever way it came.
 */
const textSettings: Readonly<Record<string, string>> = {
  datestyle: 'ISO',
  timezone: 'UTC',
  intervalstyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
  client_encoding: 'UTF8',
  search_path: 'pg_catalog',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
};

/** Opens an SQL session. Throws `source-unreachable` or `source-denied`. The caller ends it. */
export async function openSession(options: ConnectionOptions): Promise<SqlSession> {
  return await connect(clientConfig(options));
}

/** Opens a connection to a walsender of the URL's database; takes replication commands and SQL. */
export async function openReplication(options: ConnectionOptions): Promise<SqlSession> {
  // `replication` is a startup parameter that pg passes on but its types do not know.
  const config: pg.ClientConfig & { replication: string } = {
    ...clientConfig(options),
    replication: 'database',
  };
  return await connect(config);
}

/** Ends a session without caring whether the server is still there. */
export async function closeSession(session: SqlSession): Promise<void> {
  await session.end().catch(() => undefined);
}

function clientConfig(options: ConnectionOptions): pg.ClientConfig {
  const settings = Object.entries(textSettings).map(([name, value]) => `-c ${name}=${value}`);
  return {
    connectionString: options.url,
    connectionTimeoutMillis: options.connectTimeoutMs ?? connectTimeoutMsDefault,
    options: settings.join(' '),
    fallback_application_name: 'tributary',
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
  };
}

async function connect(config: pg.ClientConfig): Promise<SqlSession> {
  try {
    const client = new pg.Client(config);
    // A connection that breaks between two queries reports itself through the next query.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  } catch (error) {
    throw translateSourceError(error, 'connecting');
  }
}

/** Runs one SQL statement with foreign errors translated. */
export async function query<Row extends pg.QueryResultRow>(
  session: SqlSession,
  text: string,
  values: readonly unknown[] = [],
): Promise<readonly Row[]> {
  try {
    const result =
      values.length === 0
        ? await session.query<Row>(text)
        : await session.query<Row>(text, [...values]);
    return result.rows;
  } catch (error) {
    throw translateSourceError(error, 'querying');
  }
}

/** 'name' → "'name'" for replication commands, which take no parameters. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** 'name' → '"name"' for replication commands and printed SQL. */
export function quoteIdentifier(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
