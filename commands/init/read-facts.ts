import { query, type SqlSession } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { mayReplicateSql } from '../../capture/postgres/preflight.ts';
import { compilePatterns, type TablePatterns } from '../../capture/postgres/table-patterns.ts';
import type { CatalogTable } from '../../schemas/catalog.ts';
import type { RoleRights, SourceFacts } from './source-sql.ts';

/** Asks the server what the SQL depends on; changes nothing. */
export async function readFacts(
  session: SqlSession,
  names: { readonly role: string | undefined; readonly publication: string },
): Promise<SourceFacts> {
  const [row] = await query<FactsRow>(session, factsSql, [names.role ?? '']);
  const publication = await readPublication(session, names.publication);
  return {
    database: row?.database ?? '',
    role: row?.role_name ?? '',
    walLevel: row?.wal_level ?? '',
    versionNumber: row?.version_number ?? 0,
    publicationExists: publication !== null,
    publishedTables: (publication?.tables ?? []).map((table) => `${table.schema}.${table.name}`),
  };
}

interface FactsRow {
  readonly database: string;
  readonly role_name: string;
  readonly wal_level: string;
  readonly version_number: number;
}

const factsSql = /* sql */ `
  select current_database()::text as database, coalesce(nullif($1, ''), current_user)::text as role_name,
    current_setting('wal_level') as wal_level,
    current_setting('server_version_num')::int as version_number`;

/** What a role may do already; null when there is no such role. */
export async function readRights(
  session: SqlSession,
  role: string,
  tables: readonly CatalogTable[],
): Promise<RoleRights | null> {
  const oids = tables.map((table) => String(table.oid));
  const [row] = await query<RightsRow>(session, rightsSql, [role, oids]);
  if (row === undefined) return null;
  const unreadable = new Set(row.unreadable.map(Number));
  return {
    mayReplicate: row.may_replicate,
    mayConnect: row.may_connect,
    unreadable: tables.filter((table) => unreadable.has(table.oid)),
  };
}

interface RightsRow {
  readonly may_replicate: boolean;
  readonly may_connect: boolean;
  readonly unreadable: readonly string[];
}

// A name that is no role's gives no row, so that no function is asked about it.
const rightsSql = /* sql */ `
  select ${mayReplicateSql('streaming.rolname')} as may_replicate,
    has_database_privilege(streaming.oid, current_database(), 'connect') as may_connect,
    array(
      select t.oid::text from unnest($2::oid[]) t(oid) join pg_class c on c.oid = t.oid
      where not has_schema_privilege(streaming.oid, c.relnamespace, 'usage')
        or not (has_table_privilege(streaming.oid, t.oid, 'select')
          or has_any_column_privilege(streaming.oid, t.oid, 'select'))
    ) as unreadable
  from pg_roles streaming where streaming.rolname = $1`;

/** How many tables of each schema the patterns leave out, largest first: a new user may not know of them. */
export async function readLeftOut(
  session: SqlSession,
  patterns: TablePatterns,
): Promise<ReadonlyMap<string, number>> {
  const matches = compilePatterns(patterns);
  const rows = await query<{ schema: string; name: string }>(session, tablesSql);
  const leftOut = rows.filter(({ schema, name }) => !matches(`${schema}.${name}`));
  const counts = Map.groupBy(leftOut, ({ schema }) => schema);
  return new Map(
    [...counts]
      .map(([schema, tables]) => [schema, tables.length] as const)
      .toSorted((left, right) => right[1] - left[1]),
  );
}

const tablesSql = /* sql */ `
  select n.nspname as schema, c.relname as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  order by n.nspname`;
