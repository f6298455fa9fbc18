import { randomBytes } from 'node:crypto';
import { describeTable, relationOf } from '../../capture/describe-table.ts';
import { readTables, readTypes } from '../../capture/postgres/catalog.ts';
import {
  closeSession,
  openReplication,
  openSession,
  query,
  quoteIdentifier,
  quoteLiteral,
  type SqlSession,
} from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { type Lsn, parseLsn } from '../../schemas/lsn.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';

/** A published table as capture describes it, with the rows of it that are published. */
export interface SourceTable {
  readonly table: TableSchema;
  readonly rowFilter: string | null;
  /** Rows of a partitioned root lie in its leaves. */
  readonly isPartitioned: boolean;
}

/** The source exactly as of one LSN: every transaction that committed before it, none after. */
export interface SourceSnapshot extends AsyncDisposable {
  readonly lsn: Lsn;
  readonly tables: readonly SourceTable[];
  /** Rows of a table, values as PostgreSQL's text in the order of its columns. */
  rows(source: SourceTable): AsyncIterable<readonly (string | null)[]>;
}

export interface SourceSnapshotOptions {
  readonly url: string;
  readonly publication: string;
  /** Which of the published tables, by "schema.table". */
  readonly wants: (table: string) => boolean;
}

const fetchRows = 5_000;

/**
 * Ties a snapshot to an LSN by a temporary replication slot, which PostgreSQL drops with the
 * connection: https://www.postgresql.org/docs/current/protocol-replication.html (EXPORT_SNAPSHOT).
 * Writers are not held up. Waits for transactions that are open at that moment, as any slot does.
 */
export async function openSourceSnapshot(options: SourceSnapshotOptions): Promise<SourceSnapshot> {
  const replication = await openReplication(options);
  const session = await openSession(options).catch(async (error: unknown) => {
    await closeSession(replication);
    throw error;
  });
  const close = async () => {
    await closeSession(session);
    await closeSession(replication);
  };
  try {
    const { lsn, name } = await exportSnapshot(replication);
    await query(session, 'begin isolation level repeatable read read only');
    await query(session, `set transaction snapshot ${quoteLiteral(name)}`);
    const tables = await publishedTables(session, options);
    return {
      lsn,
      tables,
      rows: (source) => readRows(session, source),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function exportSnapshot(replication: SqlSession): Promise<{ lsn: Lsn; name: string }> {
  const slot = quoteIdentifier(`tributary_verify_${randomBytes(6).toString('hex')}`);
  const [row] = await query<{ consistent_point: string; snapshot_name: string }>(
    replication,
    `CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`,
  );
  if (row === undefined)
    throw new PipelineError('protocol-violation', 'the server exported no snapshot');
  return { lsn: parseLsn(row.consistent_point), name: row.snapshot_name };
}

async function publishedTables(
  session: SqlSession,
  options: SourceSnapshotOptions,
): Promise<SourceTable[]> {
  const publication = await readPublication(session, options.publication);
  if (publication === null) {
    const hint = 'run `tributary check`';
    throw new PipelineError('source-unfit', `there is no publication ${options.publication}`, {
      hint,
    });
  }
  const wanted = publication.tables.filter((table) =>
    options.wants(`${table.schema}.${table.name}`),
  );
  const catalog = await readTables(
    session,
    wanted.map((table) => table.oid),
  );
  const types = await readTypes(session);
  return wanted.flatMap((published) => {
    const table = catalog.find((candidate) => candidate.oid === published.oid);
    if (table === undefined) return [];
    const relation = relationOf(table, published.columns);
    const pgTypes = relation.columns.map(
      ({ name }) => table.columns.find((column) => column.name === name)?.pgType ?? '',
    );
    return [
      {
        table: describeTable(relation, { table, types, pgTypes }),
        rowFilter: published.rowFilter,
        isPartitioned: table.kind === 'p',
      },
    ];
  });
}

async function* readRows(
  session: SqlSession,
  source: SourceTable,
): AsyncIterable<readonly (string | null)[]> {
  const { table, rowFilter, isPartitioned } = source;
  const columns = table.columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const name = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
  const where = rowFilter === null ? '' : ` where ${rowFilter}`;
  const from = isPartitioned ? name : `only ${name}`;
  await query(
    session,
    `declare verified no scroll cursor for select ${columns} from ${from}${where}`,
  );
  for (;;) {
    const { rows } = await session.query<(string | null)[]>({
      text: `fetch ${fetchRows} from verified`,
      rowMode: 'array',
      // The text that PostgreSQL printed, whatever the type.
      types: { getTypeParser: () => (text: string) => text },
    });
    yield* rows;
    if (rows.length < fetchRows) break;
  }
  await query(session, 'close verified');
}
