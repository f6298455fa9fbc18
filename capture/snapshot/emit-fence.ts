import { fencePrefix } from './snapshot.ts';
import type { SnapshotSession } from './snapshot-session.ts';

/**
 * Writes the fence into the WAL and flushes it: the walsender sends only what is flushed. PostgreSQL 17
 * flushes it when asked to; before that the commit of a transaction with a message of its own does.
 * https://www.postgresql.org/docs/current/functions-admin.html#PG-LOGICAL-EMIT-MESSAGE
 */
export async function emitFence(session: SnapshotSession, id: string): Promise<void> {
  if (session.serverVersion >= 170_000) {
    const sql = /* sql */ `select pg_logical_emit_message(false, $1, $2::text, true)::text`;
    await session.query(sql, [fencePrefix, id]);
    return;
  }
  const fence = /* sql */ `select pg_logical_emit_message(false, $1, $2::text)::text`;
  await session.query(fence, [fencePrefix, id]);
  const flush = /* sql */ `select pg_logical_emit_message(true, $1, '')::text`;
  await session.query(flush, [`${fencePrefix}.flush`]);
}
