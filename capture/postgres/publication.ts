import { PipelineError } from '../../runtime/errors.ts';
import { query, type SqlSession } from './connection.ts';

/** A publication as the catalog has it. */
export interface Publication {
  readonly name: string;
  /** Another oid under the same name: it was dropped and created again. */
  readonly oid: number;
  readonly operations: readonly PublishedOperation[];
  readonly viaRoot: boolean;
  readonly allTables: boolean;
  readonly tables: readonly PublishedTable[];
}

export type PublishedOperation = 'insert' | 'update' | 'delete' | 'truncate';

export interface PublishedTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** Published columns by name; null before PostgreSQL 15: all that are not generated. */
  readonly columns: readonly string[] | null;
  /** SQL condition of the rows that are published; null = all. */
  readonly rowFilter: string | null;
}

/** Reads a publication and its tables; null when there is none of that name. */
export async function readPublication(
  session: SqlSession,
  name: string,
): Promise<Publication | null> {
  const [found] = await query<PublicationRow>(session, publicationSql, [name]);
  if (found === undefined) return null;
  const hasColumnLists = found.server_version >= 150_000;
  const sql = hasColumnLists ? publishedTablesSql : publishedTablesSql14;
  const tables = await whileTablesGo(() => query<PublishedTableRow>(session, sql, [name]));
  const flags = {
    insert: found.pubinsert,
    update: found.pubupdate,
    delete: found.pubdelete,
    truncate: found.pubtruncate,
  };
  return {
    name,
    oid: Number(found.oid),
    operations: operations.filter((operation) => flags[operation]),
    viaRoot: found.pubviaroot,
    allTables: found.puballtables,
    tables: tables.map((row) => ({
      oid: Number(row.oid),
      schema: row.schema,
      name: row.name,
      columns:
        row.columns === null ? null : sentColumns(row.columns, row.generated, found.server_version),
      rowFilter: row.row_filter,
    })),
  };
}

/** pg_publication_tables opens each table that it lists: one that is dropped in between fails the query, not the next one. */
async function whileTablesGo<T>(look: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await look();
    } catch (error) {
      const isGone = error instanceof PipelineError && goneTable.test(error.message);
      if (!isGone || attempt === looksMax) throw error;
    }
  }
}

const goneTable = /could not open relation with OID/;
/** One table after the other may be dropped. */
const looksMax = 100;

/** Before PostgreSQL 18 the catalog lists generated columns as published, and pgoutput sends none of them. */
export function sentColumns(
  listed: readonly string[],
  generated: readonly string[],
  serverVersion: number,
): readonly string[] {
  return serverVersion >= versionSendsGenerated
    ? listed
    : listed.filter((name) => !generated.includes(name));
}

const versionSendsGenerated = 180_000;

export const operations: readonly PublishedOperation[] = ['insert', 'update', 'delete', 'truncate'];

interface PublicationRow {
  readonly oid: string;
  readonly pubinsert: boolean;
  readonly pubupdate: boolean;
  readonly pubdelete: boolean;
  readonly pubtruncate: boolean;
  readonly pubviaroot: boolean;
  readonly puballtables: boolean;
  readonly server_version: number;
}

interface PublishedTableRow {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly columns: string[] | null;
  readonly generated: string[];
  readonly row_filter: string | null;
}

const publicationSql = /* sql */ `
  select oid::text as oid, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, puballtables,
    current_setting('server_version_num')::int as server_version
  from pg_publication where pubname = $1`;

const publishedTablesSql = /* sql */ `
  select c.oid::text as oid, t.schemaname as schema, t.tablename as name,
    t.attnames::text[] as columns, t.rowfilter as row_filter,
    array(select attname::text from pg_attribute
      where attrelid = c.oid and attnum > 0 and attgenerated <> '') as generated
  from pg_publication_tables t
  join pg_namespace n on n.nspname = t.schemaname
  join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
  where t.pubname = $1 order by t.schemaname collate "C", t.tablename collate "C"`;

const publishedTablesSql14 = /* sql */ `
  select c.oid::text as oid, t.schemaname as schema, t.tablename as name,
    null::text[] as columns, null::text as row_filter, '{}'::text[] as generated
  from pg_publication_tables t
  join pg_namespace n on n.nspname = t.schemaname
  join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
  where t.pubname = $1 order by t.schemaname collate "C", t.tablename collate "C"`;
