import { PipelineError } from '../../runtime/errors.ts';
import type { Change } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { VersionLayout } from '../lake/layout.ts';
import type { LakeConnection } from './client.ts';
import { type RowsOrigin, RowEncoder } from './encode-row.ts';
import { EncoderCache } from './encoder-cache.ts';
import { reasonOf } from './errors.ts';
import { refuseOtherEpoch, type ShareTables } from './shared-tables.ts';
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

/** How changes come into `T__changes`: in the transaction of their batch, as soon as they are read, or not at all. */
export type ChangeWay = 'load' | 'stream' | 'none';

/**
 * Where one owner's changes go. However they come, each is there once: every owner appends a table's changes in
 * rising order of position, and begins where the one before ended. So what is in `T__changes` are exactly the
 * changes up to its newest position, published or not, and what is not above it need not be appended again.
 */
export class ChangeAppender {
  readonly #owner: StreamOwner;
  readonly #way: ChangeWay;
  /** Whether an owner before this one may have streamed: then changes above the checkpoint may be there. */
  readonly #wasStreamed: boolean;
  /** topic → newest position before this owner's first change. */
  readonly #newest = new Map<string, PositionText | null>();
  readonly #streams = new Map<string, OpenStream>();
  /** Tables are loaded side by side; the table of their streams is made once. */
  #table: Promise<void> | null = null;
  readonly #encoders = new EncoderCache((layout) => new RowEncoder(layout));

  private constructor(owner: StreamOwner, way: ChangeWay, wasStreamed: boolean) {
    this.#owner = owner;
    this.#way = way;
    this.#wasStreamed = wasStreamed;
  }

  /**
   * Ends what every owner before this one appends, whatever the way: after it what is in `T__changes` stays as it
   * is until this owner appends.
   */
  static async takeOver(owner: StreamOwner, way: ChangeWay): Promise<ChangeAppender> {
    const streams = await readStreams(owner.lake, owner.tables);
    await endStreams(owner, streams ?? []);
    return new ChangeAppender(owner, way, streams !== null);
  }

  /**
   * Streams a table's changes, given in rising order of position, or gives back those that the transaction of
   * their batch is to append. Streamed ones are visible at once, whatever becomes of the batch. Throws
   * `sink-fenced` when another owner took over.
   */
  async append(
    layout: VersionLayout,
    changes: readonly Change[],
    origin: RowsOrigin,
  ): Promise<readonly Change[]> {
    if (this.#way === 'none') return [];
    const missing = await this.#missing(layout, changes);
    if (this.#way === 'load') return missing;
    if (missing.length > 0) await this.#stream(layout, missing, origin);
    return [];
  }

  async #missing(layout: VersionLayout, changes: readonly Change[]): Promise<readonly Change[]> {
    if (!this.#wasStreamed) return changes;
    const { topic } = layout.version;
    if (!this.#newest.has(topic)) {
      this.#newest.set(topic, await newestChange(this.#owner.lake, layout));
    }
    const newest = this.#newest.get(topic) ?? null;
    return newest === null ? changes : changes.filter(({ seq }) => seq > newest);
  }

  async #stream(
    layout: VersionLayout,
    changes: readonly Change[],
    origin: RowsOrigin,
  ): Promise<void> {
    const stream = await this.#streamOf(layout);
    try {
      await this.#appendTo(stream, layout, { changes, origin });
    } catch (error) {
      if (!isOver(error)) throw error;
      // Another owner ended it, or the service did after days without a row.
      const { lake, tables, epoch } = this.#owner;
      await refuseOtherEpoch(lake, tables, epoch);
      this.#streams.delete(layout.version.topic);
      // It may only be said to be gone: what is still under way to it must not come in behind the look at what is there.
      await endStreams(this.#owner, [stream.name]);
      const newest = await newestChange(lake, layout);
      const rest = newest === null ? changes : changes.filter(({ seq }) => seq > newest);
      await this.#appendTo(await this.#streamOf(layout), layout, { changes: rest, origin });
    }
  }

  async #appendTo(
    stream: OpenStream,
    layout: VersionLayout,
    { changes, origin }: { readonly changes: readonly Change[]; readonly origin: RowsOrigin },
  ): Promise<void> {
    if (changes.length === 0) return;
    const encoder = this.#encoders.of(layout);
    const rows = encoder.encode(changes, origin);
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
    this.#table ??= createStreamsTable(lake, tables);
    await this.#table;
    const name = await writes.create(layout.names.changes);
    await registerStream(lake, tables, { topic, stream: name, epoch });
    const stream: OpenStream = { name, rows: 0n };
    this.#streams.set(topic, stream);
    return stream;
  }
}

/** Nothing can be appended to the stream any more. */
function isOver(error: unknown): boolean {
  const isEnded = error instanceof PipelineError && error.kind === 'sink-fenced';
  return isEnded || reasonOf(error) === 'notFound';
}

/** After it nobody appends to these streams any more, and nothing has to end them again. */
async function endStreams(
  { lake, tables, writes }: StreamOwner,
  streams: readonly string[],
): Promise<void> {
  await Promise.all(
    streams.map(async (stream) => {
      // One that the service has forgotten takes nothing either: it had no rows for days, or its table is gone.
      await writes.finalize(stream).catch((error: unknown) => {
        if (reasonOf(error) !== 'notFound') throw error;
      });
    }),
  );
  await forgetStreams(lake, tables, streams);
}

/** Position of the newest change in `T__changes`; null in an empty one. */
async function newestChange(
  lake: LakeConnection,
  layout: VersionLayout,
): Promise<PositionText | null> {
  const [row] = await lake.rows(
    /* sql */ `select max(_cdc_seq) as newest from ${changesOf(layout.names)}`,
  );
  return row?.[0] ?? null;
}
