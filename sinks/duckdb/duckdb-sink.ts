import { setTimeout } from 'node:timers/promises';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { lakeNames, type Checkpoint, type Sink, type SinkBatch, type TableBatch } from '../sink.ts';
import { applyTable } from './apply-table.ts';
import { type FileWriter, type LakeConnection, type LakeOptions, openLake } from './client.ts';
import { evolveTable } from './evolve-table.ts';
import { TableHistory, type TableLayout } from '../lake/layout.ts';
import { planEvolution, refuseAlikeTables } from '../lake/plan-evolution.ts';
import { duckdbEngine } from './schema.ts';
import {
  fencedError,
  publishCut,
  readLayouts,
  recordLayout,
  refuseWhenFenced,
  takeCheckpoint,
  writeDeadLetters,
  writeLedger,
} from './shared-tables.ts';
import { applyFloorSql } from './sql.ts';

/** Where a test may let the sink die: `onStep` throws. */
export const duckdbSinkSteps = [
  'begun',
  'staged',
  'merged',
  'before-commit',
  'after-commit',
] as const;
export type DuckdbSinkStep = (typeof duckdbSinkSteps)[number];

export interface DuckdbSinkOptions extends Omit<LakeOptions, 'isReadOnly'> {
  /** The lake file; made if missing. */
  readonly path: string;
  /** How long to wait for a borrower that does not let go of the file after its time. */
  readonly reopenMsMax?: number;
  /** Another process says that it owns the lake: then waiting for the file is in vain. */
  readonly isReplaced?: () => boolean;
  readonly onStep?: (step: DuckdbSinkStep) => void;
}

const reopenMsDefault = 30_000;
const reopenPauseMs = 50;

/** A lake in one DuckDB file. */
export function createDuckdbSink(options: DuckdbSinkOptions): Sink {
  return new DuckdbSink(options);
}

class DuckdbSink implements Sink, FileWriter {
  readonly #options: DuckdbSinkOptions;
  #lake: LakeConnection | null = null;
  #epoch = 0;
  #tables = new Map<string, TableHistory>();
  /** topic → what a truncate or a newer table of the name took away; stored with the checkpoint. */
  #floors: Record<string, PositionText> = {};
  /** Everything at or below it is applied, published or not. */
  #applied: PositionText = positionZero;
  /** A transaction is open: it holds what is applied and not yet published. */
  #isOpen = false;
  /** Topics whose state rows the open transaction changed. */
  readonly #touched = new Set<string>();
  /** What ended this owner's work: every later call fails with it. */
  #end: unknown = new PipelineError('sink-failed', 'the DuckDB sink is not open');

  constructor(options: DuckdbSinkOptions) {
    this.#options = options;
  }

  async open(): Promise<Checkpoint> {
    await this.close();
    const lake = await openLake(this.#options.path, this.#options);
    try {
      await lake.takeOver(this);
      const { checkpoint, floors } = await takeCheckpoint(lake);
      this.#tables = new Map();
      for (const layout of await readLayouts(lake)) this.#historyOf(layout.topic).add(layout);
      this.#lake = lake;
      this.#end = undefined;
      this.#epoch = checkpoint.epoch;
      this.#applied = checkpoint.applied;
      this.#floors = { ...floors };
      return checkpoint;
    } catch (error) {
      await lake.close();
      throw error;
    }
  }

  async evolve(version: TableVersion): Promise<void> {
    this.#refuseWhenEnded();
    const history = this.#historyOf(version.topic);
    const { newest } = history;
    // An older version, met again after a crash: its columns are all there.
    if (newest !== undefined && version.from < newest.from) return;
    refuseAlikeTables(duckdbEngine, version, this.#newestLayouts());
    const evolution = planEvolution(duckdbEngine, newest, version);
    if (newest?.from === version.from && evolution.steps.length === 0) return;
    const isPending = this.#isOpen;
    await this.#orAbandon(async () => {
      const lake = await this.#begin();
      await evolveTable(lake, evolution, { isTouched: this.#touched.has(version.topic) });
      await recordLayout(lake, evolution.layout, evolution.notes);
      this.#touched.add(version.topic);
      // With nothing pending the change of shape stands by itself.
      if (!isPending) await this.#commit(lake);
      history.add(evolution.layout);
    });
  }

  async apply(batch: SinkBatch): Promise<void> {
    this.#refuseWhenEnded();
    const startedAt = performance.now();
    await this.#orAbandon(async () => {
      const lake = await this.#begin();
      this.#step('begun');
      await this.#applyFloors(lake, batch.cut.cut);
      await writeDeadLetters(lake, batch.deadLetters, batch.id);
      const loadedAtUs = BigInt(Date.now()) * 1000n;
      for (const table of batch.tables) {
        await this.#applyTable(lake, table, { batchId: batch.id, loadedAtUs });
      }
      this.#step('merged');
      const durationMs = performance.now() - startedAt;
      const entry = { batch, floors: this.#floors, durationMs };
      await writeLedger(lake, entry);
      if (batch.cut.publish) {
        await publishCut(lake, entry);
        this.#step('before-commit');
        await this.#commit(lake);
      }
      this.#applied = batch.checkpoint.applied;
      this.#step('after-commit');
    });
  }

  async lend<T>(use: () => Promise<T>): Promise<T> {
    assert(!this.#isOpen, 'a lake is lent between published cuts');
    const lake = this.#opened();
    if (lake.connectionCount > 1) throw readHereError(this.#options.path);
    await lake.close();
    this.#lake = null;
    try {
      return await use();
    } finally {
      await this.#reopen();
    }
  }

  async close(): Promise<void> {
    const lake = this.#lake;
    this.#lake = null;
    if (lake === null) return;
    if (this.#isOpen) await lake.run('rollback').catch(() => {});
    this.#forgetPending();
    this.#end = new PipelineError('sink-failed', 'the DuckDB sink is closed');
    await lake.close();
  }

  /** Another owner in this process: what is pending goes, as it would with a process that died. */
  async fence(): Promise<void> {
    this.#end ??= fencedError(this.#epoch);
    await this.#lake?.refuseAll(this.#end);
    this.#forgetPending();
  }

  async #applyTable(
    lake: LakeConnection,
    batch: TableBatch,
    origin: { readonly batchId: string; readonly loadedAtUs: bigint },
  ): Promise<void> {
    const { version, fold } = batch;
    const layout = this.#historyOf(version.topic).of(version);
    assert(layout, `${tableName(version.table)} was evolved before its first batch`);
    if (fold.floor !== null) this.#floors[version.topic] = fold.floor;
    this.#touched.add(version.topic);
    await applyTable({
      lake,
      layout,
      batch,
      ...origin,
      applied: this.#applied,
      floor: this.#floors[version.topic] ?? null,
      onStaged: () => this.#step('staged'),
    });
  }

  /** Rows of a table that was dropped and created again go when the cut passes that point. */
  async #applyFloors(lake: LakeConnection, cut: PositionText): Promise<void> {
    for (const [topic, { floor, newest }] of this.#tables) {
      if (floor === null || newest === undefined || floor > cut) continue;
      if (floor <= (this.#floors[topic] ?? positionZero)) continue;
      await lake.run(applyFloorSql(lakeNames(newest), floor));
      this.#floors[topic] = floor;
      this.#touched.add(topic);
    }
  }

  /** The open transaction, or a new one of an owner that still is the owner. */
  async #begin(): Promise<LakeConnection> {
    const lake = this.#opened();
    if (this.#isOpen) return lake;
    await lake.run('begin');
    this.#isOpen = true;
    await refuseWhenFenced(lake, this.#epoch);
    return lake;
  }

  async #commit(lake: LakeConnection): Promise<void> {
    await lake.run('commit');
    this.#forgetPending();
  }

  /** On any failure back to the checkpoint: this owner's work has ended, a new one goes on from there. */
  async #orAbandon(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#end ??= (await this.#takenOver(error)) ?? error;
      await this.#lake?.refuseAll(this.#end);
      this.#forgetPending();
      throw this.#end;
    }
  }

  /** A conflict is another owner's doing only if the epoch has moved; else the batch is to be tried again. */
  async #takenOver(error: unknown): Promise<PipelineError | undefined> {
    const lake = this.#lake;
    if (lake === null || !isConflict(error)) return undefined;
    await lake.run('rollback').catch(() => {});
    return await refuseWhenFenced(lake, this.#epoch).then(
      () => undefined,
      (fenced: unknown) => (fenced instanceof PipelineError ? fenced : undefined),
    );
  }

  /** After lending. A borrower that was told to give back may take a moment to let go. */
  async #reopen(): Promise<void> {
    const deadline = performance.now() + (this.#options.reopenMsMax ?? reopenMsDefault);
    for (;;) {
      try {
        this.#lake = await openLake(this.#options.path, this.#options);
        await refuseWhenFenced(this.#lake, this.#epoch);
        await this.#lake.takeOver(this);
        return;
      } catch (error) {
        // Taken over while it was lent: this process must not keep the file from the new owner.
        await this.#lake?.close();
        this.#lake = null;
        const isLocked = error instanceof PipelineError && error.kind === 'sink-locked';
        const isReplaced = isLocked && this.#options.isReplaced?.() === true;
        if (!isLocked || isReplaced || performance.now() > deadline) {
          this.#end = isReplaced ? fencedError(this.#epoch) : error;
          throw this.#end;
        }
        await setTimeout(reopenPauseMs);
      }
    }
  }

  #forgetPending(): void {
    this.#isOpen = false;
    this.#touched.clear();
  }

  #historyOf(topic: string): TableHistory {
    const known = this.#tables.get(topic);
    if (known !== undefined) return known;
    const history = new TableHistory(lakeNames);
    this.#tables.set(topic, history);
    return history;
  }

  #newestLayouts(): readonly TableLayout[] {
    return [...this.#tables.values()].flatMap(({ newest }) => newest ?? []);
  }

  #refuseWhenEnded(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  #opened(): LakeConnection {
    this.#refuseWhenEnded();
    assert(this.#lake, 'a sink that has not ended has its lake open');
    return this.#lake;
  }

  #step(step: DuckdbSinkStep): void {
    this.#options.onStep?.(step);
  }
}

/** Two transactions on one row or one table. */
function isConflict(error: unknown): boolean {
  return error instanceof PipelineError && error.context['duckdb'] === 'TransactionContext Error';
}

function readHereError(path: string): PipelineError {
  return new PipelineError(
    'sink-locked',
    `the lake ${path} cannot be lent: this process reads it as well`,
    { hint: 'close the readers of this process first', context: { path, holderPid: process.pid } },
  );
}
