import type { LakeConnection } from './client.ts';
import { refuseOtherEpoch, type ShareTables, streamsOf } from './shared-tables.ts';
import { quoteText } from './sql.ts';

/*
 * `_tributary_streams` (one a share): the streams that owners append changes to, so that the next owner can end
 * them. Why two owners never both append, whatever the order of their steps:
 *   an owner   (1) creates a stream, (2) inserts its name, (3) reads the epoch, and appends only if it is its own;
 *   the next   (a) raises the epoch, (b) reads the names, (c) finalizes all of them, (d) reads what is there.
 * Statements on one table come one after the other for everybody. If (3) comes before (a), then so does (2), and
 * (b) reads the name: after (c) nothing is appended to that stream any more. Otherwise (3) reads the raised
 * epoch, and nothing is ever appended. Either way no row arrives after (d) but the new owner's own.
 */

/** Makes the table if it is missing. */
export async function createStreamsTable(lake: LakeConnection, tables: ShareTables): Promise<void> {
  await lake.run(/* sql */ `
    create table if not exists ${streamsOf(tables)} (
      topic string, stream string, epoch int64, created_at timestamp)`);
}

/** Full names of all streams that some owner may still append to; null in a lake that was never streamed into. */
export async function readStreams(
  lake: LakeConnection,
  tables: ShareTables,
): Promise<readonly string[] | null> {
  if (!(await lake.hasTable(streamsOf(tables)))) return null;
  const rows = await lake.rows(/* sql */ `select stream from ${streamsOf(tables)}`);
  return rows.map(([stream]) => String(stream));
}

/** Forgets streams that are finalized. */
export async function forgetStreams(
  lake: LakeConnection,
  tables: ShareTables,
  streams: readonly string[],
): Promise<void> {
  if (streams.length === 0) return;
  await lake.run(/* sql */ `
    delete from ${streamsOf(tables)} where stream in (${streams.map(quoteText).join(', ')})`);
}

export interface NewStream {
  readonly topic: string;
  readonly stream: string;
  readonly epoch: number;
}

/** Steps (2) and (3): after it the stream may be appended to. Throws `sink-fenced` when the epoch was raised. */
export async function registerStream(
  lake: LakeConnection,
  tables: ShareTables,
  { topic, stream, epoch }: NewStream,
): Promise<void> {
  await lake.run(/* sql */ `
    insert into ${streamsOf(tables)} (topic, stream, epoch, created_at)
    values (${quoteText(topic)}, ${quoteText(stream)}, ${epoch}, current_timestamp())`);
  await refuseOtherEpoch(lake, tables, epoch);
}
