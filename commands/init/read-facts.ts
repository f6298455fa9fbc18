import { query, type SqlSession } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import type { SourceFacts } from './source-sql.ts';

/** Asks the server what the SQL depends on; changes nothing. */
export async function readFacts(
  session: SqlSession,
  names: { readonly role: string | undefined; readonly publication: string },
): Promise<SourceFacts> {
  const [row] = await query<FactsRow>(session, factsSql, [names.role ?? '']);
  const publication = await readPublication(session, names.publication);
  return {
    database: row?.database ?? '',
    user: row?.user_name ?? '',
    userMayReplicate: row?.may_replicate ?? false,
    walLevel: row?.wal_level ?? '',
    versionNumber: row?.version_number ?? 0,
    roleExists: row?.role_exists ?? false,
    publicationExists: publication !== null,
    publishedTables: (publication?.tables ?? []).map((table) => `${table.schema}.${table.name}`),
  };
}

interface FactsRow {
  readonly database: string;
  readonly user_name: string;
  readonly may_replicate: boolean;
  readonly wal_level: string;
  readonly version_number: number;
  readonly role_exists: boolean;
}

const factsSql = /* sql */ `
  select current_database()::text as database, current_user::text as user_name,
    rolreplication or rolsuper as may_replicate,
    current_setting('wal_level') as wal_level,
    current_setting('server_version_num')::int as version_number,
    exists (select from pg_roles where rolname = coalesce(nullif($1, ''), current_user)) as role_exists
  from pg_roles where rolname = current_user`;
