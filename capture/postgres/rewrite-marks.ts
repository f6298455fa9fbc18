import { query, type SqlSession } from './connection.ts';

/**
 * What a rewrite of a table's rows leaves in the catalog; each part is a hash, as text. `alter column …
 * type … using` changes both in one transaction. `vacuum full`, `cluster` and `truncate` change the
 * files alone, a new default or statistics target the columns alone: neither changes a value.
 */
export interface RewriteMark {
  /** The files of the table, or of all leaves of a partitioned one. */
  readonly files: string;
  /** Which transaction last changed each column's row in pg_attribute. */
  readonly columns: string;
}

/** The marks of tables by oid, all of one moment; tables that are gone are left out. */
export async function readRewriteMarks(
  session: SqlSession,
  oids: readonly number[],
): Promise<ReadonlyMap<number, RewriteMark>> {
  if (oids.length === 0) return new Map();
  const rows = await query<MarkRow>(session, marksSql, [oids.map(String)]);
  return new Map(rows.map(({ oid, files, columns }) => [Number(oid), { files, columns }]));
}

interface MarkRow {
  readonly oid: string;
  readonly files: string;
  readonly columns: string;
}

/**
 * Files from pg_class itself: pg_relation_filenode reads a cache that may be newer than the statement's
 * snapshot, and a rewrite of which one half was seen would be taken for something else.
 */
const marksSql = /* sql */ `
  select c.oid::text as oid,
    coalesce((
      select hashtextextended(string_agg(leaf.oid || ':' || leaf.relfilenode, ',' order by leaf.oid), 0)
      from pg_class leaf
      where leaf.oid = c.oid or leaf.oid in (select relid from pg_partition_tree(c.oid) where isleaf)
    ), 0)::text as files,
    coalesce((
      select hashtextextended(string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum), 0)
      from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
    ), 0)::text as columns
  from pg_class c where c.oid = any($1::oid[])`;
