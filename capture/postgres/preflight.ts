import type { CatalogTable } from '../../schemas/catalog.ts';
import { readCatalog, readTables } from './catalog.ts';
import { query, type SqlSession } from './connection.ts';
import { judgePreflight } from './preflight-rules.ts';
import { readPublication, type Publication } from './publication.ts';
import { inspectSlot, openTransactions, type OpenTransaction, type SlotState } from './slot.ts';
import { compilePatterns, type TablePatterns } from './table-patterns.ts';

/** One thing that stands, or may stand, in the way of capture. */
export interface Finding {
  /** 'error': capture, or the source's own writes, would fail. 'warning': it works, with a catch. */
  readonly severity: 'error' | 'warning';
  readonly what: string;
  readonly why: string;
  /** What mends it; null when no statement does. */
  readonly sql: string | null;
}

export interface PreflightOptions {
  readonly slot: string;
  readonly publication: string;
  readonly tables: TablePatterns;
}

/** Everything that the findings are made of, as read from the server. */
export interface PreflightFacts {
  readonly options: PreflightOptions;
  readonly server: ServerFacts;
  readonly slot: SlotState | null;
  readonly publication: Publication | null;
  /** Tables that match the patterns, and whatever else is published. */
  readonly tables: readonly CatalogTable[];
  /** Oids of tables that the role may not read. */
  readonly unreadable: ReadonlySet<number>;
  /** Matching relations that logical replication cannot carry. */
  readonly unfit: readonly UnfitRelation[];
  readonly openTransactions: readonly OpenTransaction[];
}

export interface ServerFacts {
  readonly versionNumber: number;
  readonly versionText: string;
  readonly walLevel: string;
  readonly inRecovery: boolean;
  readonly slotsMax: number;
  readonly slotsUsed: number;
  readonly sendersMax: number;
  readonly sendersUsed: number;
  /** Megabytes; −1 = no limit. */
  readonly slotWalKeepMegabytes: number;
  readonly role: string;
  readonly mayReplicate: boolean;
  readonly mayCreateInDatabase: boolean;
  readonly database: string;
}

export interface UnfitRelation {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'unlogged' | 'foreign';
}

/** Open transactions younger than this are ordinary traffic. */
const longTransactionSeconds = 60;

/**
 * What capture would meet on this database, most severe first. Changes nothing, takes no locks beyond
 * those of reading the catalog.
 */
export async function preflight(
  session: SqlSession,
  options: PreflightOptions,
): Promise<readonly Finding[]> {
  const server = await readServer(session);
  const matching = await readCatalog(session, options.tables);
  const publication = await readPublication(session, options.publication);
  const known = new Set(matching.map((table) => table.oid));
  const others = (publication?.tables ?? []).filter((table) => !known.has(table.oid));
  const published = await readTables(
    session,
    others.map((table) => table.oid),
  );
  return judgePreflight({
    options,
    server,
    publication,
    tables: [...matching, ...published],
    slot: await inspectSlot(session, options.slot),
    unreadable: await readUnreadable(session, matching),
    unfit: await readUnfit(session, options.tables),
    openTransactions: await openTransactions(session, longTransactionSeconds),
  });
}

async function readServer(session: SqlSession): Promise<ServerFacts> {
  const [row] = await query<ServerRow>(session, serverSql);
  if (row === undefined) throw new Error('invariant broken: settings are always one row');
  return {
    versionNumber: row.version_number,
    versionText: row.version_text,
    walLevel: row.wal_level,
    inRecovery: row.in_recovery,
    slotsMax: row.slots_max,
    slotsUsed: row.slots_used,
    sendersMax: row.senders_max,
    sendersUsed: row.senders_used,
    slotWalKeepMegabytes: row.slot_wal_keep,
    role: row.role,
    mayReplicate: row.may_replicate,
    mayCreateInDatabase: row.may_create,
    database: row.database,
  };
}

async function readUnreadable(
  session: SqlSession,
  tables: readonly CatalogTable[],
): Promise<ReadonlySet<number>> {
  const rows = await query<{ oid: string }>(session, unreadableSql, [
    tables.map((table) => String(table.oid)),
  ]);
  return new Set(rows.map((row) => Number(row.oid)));
}

async function readUnfit(
  session: SqlSession,
  patterns: TablePatterns,
): Promise<readonly UnfitRelation[]> {
  const matches = compilePatterns(patterns);
  const rows = await query<UnfitRelation>(session, unfitSql);
  return rows.filter((row) => matches(`${row.schema}.${row.name}`));
}

interface ServerRow {
  readonly version_number: number;
  readonly version_text: string;
  readonly wal_level: string;
  readonly in_recovery: boolean;
  readonly slots_max: number;
  readonly slots_used: number;
  readonly senders_max: number;
  readonly senders_used: number;
  readonly slot_wal_keep: number;
  readonly role: string;
  readonly may_replicate: boolean;
  readonly may_create: boolean;
  readonly database: string;
}

/** A condition: the role of this name may replicate. Managed services give the right through roles of their own. */
export function mayReplicateSql(roleName: string): string {
  return /* sql */ `exists (
      select from pg_roles r
      where (r.rolname = ${roleName} and (r.rolreplication or r.rolsuper))
        or (r.rolname in ('rds_replication', 'azure_pg_admin', 'cloudsqlreplica', 'alloydbreplica')
          and pg_has_role(${roleName}, r.oid, 'member')))`;
}

const serverSql = /* sql */ `
  select current_setting('server_version_num')::int as version_number,
    current_setting('server_version') as version_text,
    current_setting('wal_level') as wal_level, pg_is_in_recovery() as in_recovery,
    current_setting('max_replication_slots')::int as slots_max,
    (select count(*)::int from pg_replication_slots) as slots_used,
    current_setting('max_wal_senders')::int as senders_max,
    (select count(*)::int from pg_stat_replication) as senders_used,
    (select setting::int from pg_settings where name = 'max_slot_wal_keep_size') as slot_wal_keep,
    current_user as role, current_database() as database,
    has_database_privilege(current_database(), 'create') as may_create,
    ${mayReplicateSql('current_user')} as may_replicate`;

const unreadableSql = /* sql */ `
  select t.oid::text as oid from unnest($1::oid[]) t(oid)
  join pg_class c on c.oid = t.oid
  where not has_schema_privilege(c.relnamespace, 'usage')
    or not (has_table_privilege(t.oid, 'select') or has_any_column_privilege(t.oid, 'select'))`;

const unfitSql = /* sql */ `
  select n.nspname as schema, c.relname as name,
    case when c.relkind = 'f' then 'foreign' else 'unlogged' end as kind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where (c.relkind = 'f' or (c.relkind in ('r', 'p') and c.relpersistence = 'u'))
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  order by n.nspname, c.relname`;
