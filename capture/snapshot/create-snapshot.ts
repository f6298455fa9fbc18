import type pg from 'pg';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { LogicalMessage } from '../pgoutput/message.ts';
import { ChunkReader, type SnapshotProgress } from './chunk-reader.ts';
import { SnapshotCore } from './snapshot-core.ts';
import { defaultSnapshotLimits, type SnapshotLimits } from './snapshot-limits.ts';
import { openSnapshotSession } from './snapshot-session.ts';
import type { Snapshot, SnapshotState } from './snapshot.ts';
import { watchVisibility } from './watch-visibility.ts';

export interface SnapshotOptions {
  /** Opens a connected client; the snapshot has at most two at a time and ends them. */
  readonly connect: () => Promise<pg.Client>;
  readonly publications: readonly string[];
  /** All published tables, in the order in which to read them; `pgType` of columns under search_path pg_catalog. */
  readonly tables: readonly TableSchema[];
  /** Null on the first start and after the slot was made anew. Tables that it does not have are read. */
  readonly state: SnapshotState | null;
  /** The table as it is now, with the columns that are published; null when it is dropped or not published. */
  readonly describe: (table: {
    readonly schema: string;
    readonly name: string;
  }) => Promise<TableSchema | null>;
  /** False when nothing of the table is on the log yet, also not of what was emitted just now. Default: true. */
  readonly hasRecords?: (table: TableSchema) => boolean;
  readonly onProgress?: (progress: SnapshotProgress) => void;
  readonly limits?: Partial<SnapshotLimits>;
}

/** The snapshot by fenced chunks over PostgreSQL; `start` begins it. */
export function createSnapshot(options: SnapshotOptions): Snapshot {
  const limits = { ...defaultSnapshotLimits, ...options.limits };
  const core = new SnapshotCore({
    tables: options.tables,
    state: options.state,
    repairKeysMax: limits.repairKeysMax,
    spoolBytesMax: limits.spoolBytesMax,
    hasRecords: options.hasRecords ?? (() => true),
  });
  return new FencedSnapshot(core, options, limits);
}

class FencedSnapshot implements Snapshot {
  readonly #core: SnapshotCore;
  readonly #reader: ChunkReader;
  readonly #watch: () => Promise<void>;
  readonly #aborter = new AbortController();
  readonly #failed = Promise.withResolvers<never>();
  #running: Promise<unknown> | null = null;

  constructor(core: SnapshotCore, options: SnapshotOptions, limits: SnapshotLimits) {
    const { signal } = this.#aborter;
    const open = async () => await openSnapshotSession(await options.connect());
    this.#core = core;
    this.#reader = new ChunkReader({
      core,
      open,
      signal,
      limits,
      publications: options.publications,
      describe: options.describe,
      onProgress: options.onProgress ?? (() => undefined),
    });
    this.#watch = async () => {
      await watchVisibility({ core, open, signal, limits });
    };
    // Whoever starts the snapshot may look at `failed` later than it fails.
    this.#failed.promise.catch(() => undefined);
  }

  get active(): boolean {
    return this.#core.active;
  }

  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  start(): void {
    if (this.#running !== null) return;
    const guard = async (work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        if (!this.#aborter.signal.aborted) this.#failed.reject(error);
      }
    };
    this.#running = Promise.all([
      guard(async () => {
        await this.#reader.run();
      }),
      guard(this.#watch),
    ]);
  }

  observe(change: Parameters<Snapshot['observe']>[0]): void {
    this.#core.observe(change);
  }

  observeCommit(transaction: Parameters<Snapshot['observeCommit']>[0]): void {
    this.#core.observeCommit(transaction);
  }

  fence(message: LogicalMessage): ReturnType<Snapshot['fence']> {
    const emission = this.#core.fence(message.content.toString('utf8'));
    if (!this.#core.isBusy) this.#reader.wake();
    return emission;
  }

  state(): SnapshotState {
    return this.#core.state();
  }

  confirmCeiling(): ReturnType<Snapshot['confirmCeiling']> {
    return this.#core.ceiling();
  }

  request(tables: readonly TableSchema[], options?: { readonly reopen: boolean }): void {
    this.#core.request(tables, options);
    this.#reader.wake();
  }

  release(table: TableSchema): void {
    this.#core.release(table);
    this.#reader.wake();
  }

  async stop(): Promise<void> {
    this.#aborter.abort();
    this.#reader.wake();
    await this.#running;
  }
}
