import { PipelineError } from '../../runtime/errors.ts';
import { parseLsn, type Lsn } from '../../schemas/lsn.ts';
import { query, quoteIdentifier, type SqlSession } from './connection.ts';

/** A replication slot as the server has it. */
export interface SlotState {
  readonly name: string;
  readonly plugin: string | null;
  readonly isLogical: boolean;
  readonly database: string | null;
  /** Process that reads it now. */
  readonly activePid: number | null;
  readonly confirmedLsn: Lsn | null;
  readonly restartLsn: Lsn | null;
  /** reserved, extended, unreserved, lost. */
  readonly walStatus: string | null;
  /** Why the server gave the slot up (PostgreSQL 17+), or "lost". */
  readonly invalidation: string | null;
}

/** What a walsender says of its cluster. */
export interface SystemIdentity {
  readonly systemId: string;
  readonly timeline: number;
  /** End of the flushed WAL. */
  readonly lsn: Lsn;
  readonly database: string;
}

/** A transaction that keeps a logical slot from being created. */
export interface OpenTransaction {
  readonly pid: number;
  readonly user: string;
  readonly ageSeconds: number;
}

/** Which cluster a replication connection leads to. */
export async function identifySystem(replication: SqlSession): Promise<SystemIdentity> {
  const [row] = await query<{
    systemid: string;
    timeline: number;
    xlogpos: string;
    dbname: string;
  }>(replication, 'IDENTIFY_SYSTEM');
  if (row === undefined) {
    throw new PipelineError('protocol-violation', 'IDENTIFY_SYSTEM gave no row');
  }
  return {
    systemId: row.systemid,
    timeline: Number(row.timeline),
    lsn: parseLsn(row.xlogpos),
    database: row.dbname,
  };
}

/** The slot's state; null when there is none of that name. */
export async function inspectSlot(session: SqlSession, name: string): Promise<SlotState | null> {
  // Columns differ between versions, so the row is read as a document.
  const [found] = await query<{ slot: SlotDocument }>(
    session,
    /* sql */ `select to_jsonb(s) as slot from pg_replication_slots s where slot_name = $1`,
    [name],
  );
  if (found === undefined) return null;
  const { slot } = found;
  const isLost = slot.wal_status === 'lost' || slot.conflicting === true;
  return {
    name,
    plugin: slot.plugin,
    isLogical: slot.slot_type === 'logical',
    database: slot.database,
    activePid: slot.active_pid,
    confirmedLsn: toLsn(slot.confirmed_flush_lsn),
    restartLsn: toLsn(slot.restart_lsn),
    walStatus: slot.wal_status,
    invalidation: slot.invalidation_reason ?? (isLost ? 'lost' : null),
  };
}

/**
 * Creates the slot over a replication connection; gives the LSN from which every commit is streamed.
 * Waits for all transactions that are open at that moment: see `openTransactions`.
 */
export async function createSlot(replication: SqlSession, name: string): Promise<Lsn> {
  const [version] = await query<{ server_version_num: string }>(
    replication,
    'show server_version_num',
  );
  const options = slotOptions(Number(version?.server_version_num ?? 0));
  const [row] = await query<{ consistent_point: string }>(
    replication,
    `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} LOGICAL pgoutput ${options}`,
  );
  if (row === undefined) {
    throw new PipelineError('protocol-violation', `creating slot "${name}" gave no row`);
  }
  return parseLsn(row.consistent_point);
}

/** Drops the slot if it is there. Throws `slot-in-use` while a process reads it. */
export async function dropSlot(session: SqlSession, name: string): Promise<void> {
  await query(
    session,
    /* sql */ `
    select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`,
    [name],
  );
}

/** Transactions with an xid, open for at least this long, oldest first: what slot creation waits for. */
export async function openTransactions(
  session: SqlSession,
  ageSecondsMin: number,
): Promise<readonly OpenTransaction[]> {
  const rows = await query<{ pid: number; user: string | null; age: number }>(
    session,
    /* sql */ `
    select pid, usename as user, extract(epoch from clock_timestamp() - xact_start)::float8 as age
    from pg_stat_activity
    where backend_xid is not null and pid <> pg_backend_pid()
      and clock_timestamp() - xact_start >= make_interval(secs => $1)
    union all
    select 0, owner, extract(epoch from clock_timestamp() - prepared)::float8
    from pg_prepared_xacts where clock_timestamp() - prepared >= make_interval(secs => $1)
    order by age desc limit 20`,
    [ageSecondsMin],
  );
  return rows.map((row) => ({ pid: row.pid, user: row.user ?? '?', ageSeconds: row.age }));
}

/** PostgreSQL 17 can keep a slot on the standbys too, so that a failover does not lose it. */
function slotOptions(serverVersion: number): string {
  if (serverVersion < 150_000) return 'NOEXPORT_SNAPSHOT';
  return serverVersion < 170_000 ? "(SNAPSHOT 'nothing')" : "(SNAPSHOT 'nothing', FAILOVER true)";
}

interface SlotDocument {
  readonly plugin: string | null;
  readonly slot_type: string;
  readonly database: string | null;
  readonly active_pid: number | null;
  readonly confirmed_flush_lsn: string | null;
  readonly restart_lsn: string | null;
  readonly wal_status: string | null;
  readonly invalidation_reason?: string | null;
  readonly conflicting?: boolean | null;
}

function toLsn(text: string | null): Lsn | null {
  return text === null ? null : parseLsn(text);
}
