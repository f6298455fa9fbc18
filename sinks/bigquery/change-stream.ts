import type { Change } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { VersionLayout } from '../lake/layout.ts';
import type { LakeConnection } from './client.ts';
import { type RowsOrigin, RowEncoder } from './encode-row.ts';
import { EncoderCache } from './encoder-cache.ts';
import { reasonOf } from './errors.ts';
import type { ShareTables } from './shared-tables.ts';
import { changesOf } from './sql.ts';
import { createStreamsTable, forgetStreams, readStreams, registerStream } from './streams-table.ts';
import type { WriteStreams } from './write-streams.ts';

interface OpenStream {
  readonly name: string;
  /** Rows in it: where the next one goes. */
  rows: bigint;
}

export interface StreamOwner {
  readonly lake: LakeConnection;
  readonly tables: ShareTables;
  readonly writes: WriteStreams;
  readonly epoch: number;
}

/**
 * Ends what every owner before this one appends to `T__changes`, and forgets those streams. From then on the
 * rows that are there stay what they are, until this owner appends. False for a lake that was never streamed into.
 */
export async function endStreams({ lake, tables, writes }: StreamOwner): Promise<boolean> {
  const streams = await readStreams(lake, tables);
  if (streams === null) return false;
  await Promise.all(
    streams.map(async (stream) => {
      // One that the service has forgotten takes nothing either: it had no rows for days, or its table is gone.
      await writes.finalize(stream).catch((error: unknown) => {
        if (reasonOf(error) !== 'notFound') throw error;
      });
    }),
  );
  await forgetStreams(lake, tables, streams);
  return true;
}

/**
 * Position of the newest change in `T__changes`; null in an empty one. Every owner appends a table's changes in
 * rising order of position, to one stream, and each begins where the one before ended: what is there are exactly
 * the changes up to that position, published or not. A change that is given again and is not above it is there.
 */
export async function newestChange(
  lake: LakeConnection,
  layout: VersionLayout,
): Promise<PositionText | null> {
  const [row] = await lake.rows(
    /* sql */ `select max(_cdc_seq) as newest from ${changesOf(layout.names)}`,
  );
  return row?.[0] ?? null;
}

/** One owner's streams of changes: one COMMITTED stream a table, made at the table's first change. */
export class ChangeStreams {
  readonly #owner: StreamOwner;
  readonly #streams = new Map<string, OpenStream>();
  readonly #encoders = new EncoderCache((layout) => new RowEncoder(layout));

  constructor(owner: StreamOwner) {
    this.#owner = owner;
  }

  /**
   * Appends a table's changes, in rising order of position and none of them there yet. They are visible in
   * `T__changes` at once, whatever becomes of the batch. Throws `sink-fenced` when another owner took over.
   */
  async append(
    layout: VersionLayout,
    changes: readonly Change[],
    origin: RowsOrigin,
  ): Promise<void> {
    if (changes.length === 0) return;
    const encoder = this.#encoders.of(layout);
    const rows = encoder.encode(changes, origin);
    const stream = await this.#streamOf(layout);
    await this.#owner.writes.append({
      stream: stream.name,
      offset: stream.rows,
      descriptor: encoder.descriptor,
      rows,
    });
    stream.rows += BigInt(rows.length);
  }

  async #streamOf(layout: VersionLayout): Promise<OpenStream> {
    const { topic } = layout.version;
    const known = this.#streams.get(topic);
    if (known !== undefined) return known;
    const { lake, tables, writes, epoch } = this.#owner;
    await createStreamsTable(lake, tables);
    const name = await writes.create(layout.names.changes);
    await registerStream(lake, tables, { topic, stream: name, epoch });
    const stream: OpenStream = { name, rows: 0n };
    this.#streams.set(topic, stream);
    return stream;
  }
}
