import { assert } from '../../runtime/assert.ts';
import type { PipelineError } from '../../runtime/errors.ts';
import type { Lsn } from '../../schemas/lsn.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { effectsOf, hasUnchanged } from './change-effect.ts';
import { type ChunkPlan, isSameShape } from './chunk-plan.ts';
import { decideChunk } from './decide-chunk.ts';
import { ChangeSpool } from './change-spool.ts';
import { ChunkMemory } from './remember.ts';
import { allRules, type SnapshotRules } from './snapshot-rules.ts';
import type { ChunkEmission, SnapshotState, StreamedChange } from './snapshot.ts';
import { StreamedTransactions } from './streamed-transactions.ts';
import { TableProgress, type TableStorage } from './table-progress.ts';
import { isVisible, type TransactionSnapshot } from './transaction-visibility.ts';

export interface SnapshotCoreOptions {
  readonly tables: readonly TableSchema[];
  readonly state: SnapshotState | null;
  /** Keys of one repair chunk. */
  readonly repairKeysMax: number;
  /** Memory for changes of a keyless table while it is read. */
  readonly spoolBytesMax: number;
  /** False when nothing of this table is on the log yet. */
  readonly hasRecords: (table: TableSchema) => boolean;
  readonly rules?: SnapshotRules;
}

/** No chunk: the fence at which a table that was held back begins anew. */
interface ReopenPlan {
  readonly kind: 'reopen';
  readonly table: TableSchema;
}

interface ChunkInFlight {
  readonly plan: ChunkPlan | ReopenPlan;
  readonly progress: TableProgress;
  readonly memory: ChunkMemory;
  readonly spool: ChangeSpool;
  /** Transactions streamed before the memory began and not known to be visible then. */
  readonly before: readonly number[];
  rows: readonly TupleBytes[];
  fence: string | null;
  /** A change of another shape than the chunk's was remembered: the chunk cannot be used. */
  stale: boolean;
  /** The table's beginning that the chunk belongs to. */
  readonly life: number;
}

/**
 * The fenced-chunk snapshot without any I/O: it is told what streams by and what a chunk read, and
 * says what to read next and what to emit at the fence. The rules are numbered as in ARCHITECTURE.md.
 */
export class SnapshotCore {
  readonly #options: SnapshotCoreOptions;
  readonly #rules: SnapshotRules;
  readonly #tables = new Map<string, TableProgress>();
  /** The same by oid, for the stream; built anew when a table comes or another oid takes its name. */
  #byOid: ReadonlyMap<number, TableProgress> = new Map();
  readonly #streamed = new StreamedTransactions();
  #chunk: ChunkInFlight | null = null;
  #lastXid: number | null = null;
  /**
   * Every transaction that ran when this object began has a lower id; null once all of them have ended,
   * 'unknown' before the first look.
   */
  #eldersBelow: 'unknown' | bigint | null = 'unknown';
  #problem: PipelineError | null = null;
  #emissionCount = 0;

  constructor(options: SnapshotCoreOptions) {
    this.#options = options;
    this.#rules = options.rules ?? allRules;
    for (const table of options.tables) {
      const name = tableName(table);
      this.#tables.set(name, new TableProgress(table, options.state?.tables[name]));
    }
    this.#index();
    if (!this.active || !this.#rules.elders) this.#eldersBelow = null;
  }

  get active(): boolean {
    for (const progress of this.#tables.values()) if (!progress.done) return true;
    return false;
  }

  /** Whether a chunk is being read or waits for its fence. */
  get isBusy(): boolean {
    return this.#chunk !== null;
  }

  /** Whether transactions that are not known to be visible hold back the confirmed LSN. */
  get isHeldBack(): boolean {
    return this.#eldersBelow !== null || this.#streamed.size > 0;
  }

  /** Chunks emitted so far. */
  get emissionCount(): number {
    return this.#emissionCount;
  }

  /** What makes it impossible to go on. */
  get problem(): PipelineError | null {
    return this.#problem ?? this.#chunk?.spool.overflow ?? null;
  }

  /** Tables to read (again) from the start. */
  request(tables: readonly TableSchema[], { reopen } = { reopen: false }): void {
    for (const table of tables) {
      const name = tableName(table);
      const progress = this.#tables.get(name) ?? new TableProgress(table);
      this.#tables.set(name, progress);
      if (this.#chunk?.progress === progress) this.abandon();
      progress.describe(table);
      progress.restart();
      progress.mustReopen ||= reopen;
    }
    this.#index();
  }

  /** Reads the table no more, until it is requested. */
  release(table: TableSchema): void {
    const name = tableName(table);
    if (this.#chunk !== null && this.#chunk.progress === this.#tables.get(name)) this.abandon();
    this.#tables.delete(name);
    this.#index();
  }

  /** What the catalog says of a table now; null when it was dropped or is published no more. */
  described(progress: TableProgress, table: TableSchema | null): void {
    if (table === null) progress.finish();
    else progress.describe(table);
    this.#index();
  }

  observe(change: StreamedChange): void {
    if (change.xid !== this.#lastXid) {
      this.#streamed.began(change.xid);
      this.#lastXid = change.xid;
    }
    const progress = this.#byOid.get(change.table.oid);
    if (progress === undefined || progress.done) return;
    const chunk = this.#chunk?.progress === progress ? this.#chunk : null;
    if (!isSameShape(change.table, progress.table)) progress.outdated = true;
    if (chunk?.memory.concerns(change.xid) === true) this.#remember(chunk, change);
    if (progress.hasKey && this.#rules.repair) noteRepair(progress, change);
  }

  observeCommit(transaction: { readonly xid: number; readonly commitLsn: Lsn }): void {
    this.#streamed.committed(transaction.xid, transaction.commitLsn);
    this.#lastXid = null;
  }

  /** Whether the id that a new transaction gets is still wanted, by `began`. */
  get hasBegun(): boolean {
    return this.#eldersBelow !== 'unknown';
  }

  /**
   * The id of a transaction that began after this object. A snapshot would not do: its in-progress list
   * leaves out those that began after the last one that has ended.
   */
  began(xid: bigint): void {
    if (this.#eldersBelow === 'unknown') this.#eldersBelow = xid;
  }

  /** A snapshot was taken somewhere: what it sees no longer holds anything up. */
  seen(snapshot: TransactionSnapshot): void {
    this.#streamed.seen(snapshot);
    const below = this.#eldersBelow;
    if (typeof below === 'bigint' && snapshot.xmin >= below) this.#eldersBelow = null;
  }

  /**
   * Rule 6. It stands also after the last table is done, until all that was streamed is visible: a crash
   * may fall back to a stored state in which the snapshot is unfinished. What an earlier life streamed and
   * stored is not known here: nothing may be confirmed before all that ran at the beginning has ended.
   */
  ceiling(): Lsn | null {
    if (this.#eldersBelow !== null) return 0n;
    return this.#streamed.ceiling();
  }

  /** The table to read from next, in the order in which they were given; null when all are done. */
  next(): TableProgress | null {
    for (const progress of this.#tables.values()) if (!progress.settle()) return progress;
    return null;
  }

  /** What to read of this table next; `blocks` is how much of a range. The table must have been measured. */
  plan(progress: TableProgress, blocks: number): ChunkPlan {
    const { table } = progress;
    if (!progress.hasKey) return { kind: 'whole', table };
    if (progress.isRangeRead) {
      const keys = [...progress.repair].slice(0, this.#options.repairKeysMax);
      return { kind: 'keys', table, keys };
    }
    assert(progress.storage !== null, 'a table is measured before its blocks are read');
    const from = progress.nextBlock;
    return {
      kind: 'range',
      table,
      from,
      to: Math.max(1, Math.min(from + blocks, progress.blocks)),
    };
  }

  measured(progress: TableProgress, storage: TableStorage): void {
    progress.begin(storage);
  }

  /** Rule 1: remembering begins, before the chunk's snapshot is taken. */
  begin(progress: TableProgress, plan: ChunkPlan | ReopenPlan): void {
    assert(this.#chunk === null, 'one chunk at a time');
    this.#chunk = {
      plan,
      progress,
      memory: new ChunkMemory(plan.table.columns.length),
      spool: new ChangeSpool(plan.table, this.#options.spoolBytesMax),
      before: this.#streamed.xids(),
      rows: [],
      fence: null,
      stale: false,
      life: progress.life,
    };
  }

  /**
   * Rule 2: the chunk's snapshot is known. False when the chunk must be read again: a transaction that
   * was streamed before the memory began is missing from what the snapshot sees. Then it is abandoned.
   */
  seal(snapshot: TransactionSnapshot, storage: string): boolean {
    const chunk = this.#chunk;
    // Asked for anew while it was being read.
    if (chunk === null) return false;
    this.seen(snapshot);
    const moved = chunk.plan.kind === 'range' && storage !== chunk.progress.storage;
    if (moved && this.#rules.storage) chunk.progress.restart();
    const isEarly = this.#rules.reread && chunk.before.some((xid) => !isVisible(snapshot, xid));
    if (isEarly || (moved && this.#rules.storage)) {
      this.abandon();
      return false;
    }
    chunk.memory.seal(snapshot);
    chunk.spool.seal(snapshot);
    return true;
  }

  /** The chunk was read; it is held until its fence comes back. False when it has been abandoned meanwhile. */
  hold(rows: readonly TupleBytes[], fence: string): boolean {
    if (this.#chunk === null) return false;
    Object.assign(this.#chunk, { rows, fence });
    return true;
  }

  /** Forgets the chunk in flight: it will be read again. */
  abandon(): void {
    this.#chunk?.spool.dispose();
    this.#chunk = null;
  }

  /** Rules 3 to 5. Null for a fence of an earlier life and for a chunk that has to be read again. */
  fence(id: string): ChunkEmission | null {
    const chunk = this.#chunk;
    if (chunk === null || chunk.fence !== id) return null;
    this.#chunk = null;
    this.#problem ??= chunk.spool.overflow;
    if (chunk.stale || chunk.life !== chunk.progress.life || this.#problem !== null) return null;
    const emission = this.#emit(chunk, chunk.plan);
    chunk.progress.settle();
    this.#emissionCount += 1;
    return emission;
  }

  state(): SnapshotState {
    const tables = [...this.#tables].map(([name, progress]) => [name, progress.state()] as const);
    return { tables: Object.fromEntries(tables) };
  }

  #index(): void {
    const found = [...this.#tables.values()];
    this.#byOid = new Map(found.map((progress) => [progress.table.oid, progress] as const));
  }

  #remember(chunk: ChunkInFlight, change: StreamedChange): void {
    chunk.stale ||= !isSameShape(change.table, chunk.plan.table);
    if (chunk.stale) return;
    if (chunk.plan.kind === 'whole') {
      chunk.spool.add(change);
      return;
    }
    for (const effect of effectsOf(change)) chunk.memory.observe(change.xid, effect);
  }

  #emit(chunk: ChunkInFlight, plan: ChunkInFlight['plan']): ChunkEmission {
    switch (plan.kind) {
      case 'whole':
        return this.#emitWhole(chunk);
      case 'reopen':
        return this.#emitReopening(chunk);
      default:
        return this.#emitKeyed(chunk, plan);
    }
  }

  /** What the log has of the table ends here: the reading begins after it, when all writers until now have ended. */
  #emitReopening({ progress, plan: { table } }: ChunkInFlight): ChunkEmission {
    progress.mustReopen = false;
    const truncateFirst = this.#options.hasRecords(table);
    return { table, truncateFirst, rows: [], reopens: true, again: [] };
  }

  #emitWhole(chunk: ChunkInFlight): ChunkEmission {
    const { plan, progress, rows } = chunk;
    progress.readWhole(rows.length);
    const truncateFirst = this.#options.hasRecords(plan.table);
    return { table: plan.table, truncateFirst, rows, reopens: false, again: chunk.spool.take() };
  }

  #emitKeyed(chunk: ChunkInFlight, plan: ChunkPlan & { kind: 'range' | 'keys' }): ChunkEmission {
    const { progress, memory, rows } = chunk;
    const asked = plan.kind === 'keys' ? plan.keys : [];
    const needsKeys = progress.repair.size > 0;
    const decision = decideChunk(
      { table: plan.table, rows, memory, asked, needsKeys },
      this.#rules,
    );
    for (const key of decision.settled) progress.settled(key);
    if (plan.kind === 'range') progress.readTo(plan.to, rows.length);
    const { table } = plan;
    return { table, truncateFirst: false, rows: decision.rows, reopens: false, again: [] };
  }
}

/**
 * Rule 5: keys whose row the log has only in part join the list; those it has whole or not at all leave it.
 * Once every block was read the log has every row but the listed ones whole, so only what comes from a
 * listed key joins: under steady writes the list still comes to an end.
 */
function noteRepair(progress: TableProgress, change: StreamedChange): void {
  const { repair, table } = progress;
  if (change.op === 'truncate') {
    progress.healedAll();
    return;
  }
  const isPartial = change.op !== 'delete' && hasUnchanged(change.after);
  if (!isPartial && repair.size === 0) return;
  if (change.table.key.join('\0') !== table.key.join('\0')) {
    // The key was altered in the middle: its keys cannot be told as the table's, so all of it is read again.
    if (isPartial) progress.restart();
    return;
  }
  let isBaseWhole = progress.isRangeRead && change.op === 'update';
  for (const effect of effectsOf(change)) {
    if (effect.kind === 'truncate') continue;
    if (effect.kind === 'gone') {
      isBaseWhole &&= !repair.has(effect.key);
      progress.healed(effect.key);
    } else if (effect.image === null) progress.healed(effect.key);
    else if (!isBaseWhole) progress.needsRepair(effect.key);
  }
}
