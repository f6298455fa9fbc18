import { createHash } from 'node:crypto';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { TableHistory, type TableLayout } from '../lake/layout.ts';
import { type LakeEngine, planEvolution, refuseAlikeTables } from '../lake/plan-evolution.ts';
import { shareOf } from '../shares.ts';
import type { Checkpoint, Sink, SinkBatch, TableBatch } from '../sink.ts';
import { applyTable, stageLifetimeMs } from './apply-table.ts';
import { LakeConnection, type LakeOptions } from './client.ts';
import { evolveTable } from './evolve-table.ts';
import { InFlight, loadsInFlightMax } from './in-flight.ts';
import { inlineBytesMax, inlineTableBytesMax, type TextParameter } from './inline-rows.ts';
import { LoadPace, type PaceReport } from './load-pace.ts';
import { bigqueryEngine } from './schema.ts';
import { refuseLongScript, refuseManyTables } from './script-limits.ts';
import {
  deadLetterFields,
  deadLettersSql,
  fencedError,
  guardedScript,
  ledgerSql,
  publishSql,
  readCheckpoint,
  readLayouts,
  readLoadsToday,
  recordLayoutSql,
  type ShareTables,
  stagedLetters,
  takeCheckpoint,
} from './shared-tables.ts';
import { applyFloorSql, viewQuery, viewSql } from './sql.ts';

/** Where a test may let the sink die: `onStep` throws. */
export const bigquerySinkSteps = ['begun', 'staged', 'before-commit', 'after-commit'] as const;
export type BigquerySinkStep = (typeof bigquerySinkSteps)[number];

export interface BigquerySinkOptions extends LakeOptions {
  /** Number of the share that this sink loads; 0 where there is one. */
  readonly share?: number;
  /** Number of shares: 1 if left out. Of a lake it is always the same. */
  readonly shares?: number;
  /** How long batches wait for one another, at least and at most. */
  readonly spacingMsMin?: number;
  readonly spacingMsMax?: number;
  /** Bytes that statements may scan in an hour over all shares: batches wait for it. null: no budget. */
  readonly scanBytesPerHourMax?: number | null;
  /** A table's rows of no more bytes travel with the statements, without a load; 0: all are loaded. */
  readonly inlineTableBytesMax?: number;
  /** Told after each published batch. */
  readonly onPace?: (report: PaceReport) => void;
  readonly onStep?: (step: BigquerySinkStep) => void;
}

/** A lake in one dataset of BigQuery, loaded in batches. */
export function createBigquerySink(options: BigquerySinkOptions): Sink {
  return new BigquerySink(options);
}

class BigquerySink implements Sink {
  readonly #options: BigquerySinkOptions;
  readonly #lake: LakeConnection;
  readonly #engine: LakeEngine;
  readonly #tables: ShareTables;
  readonly #pace: LoadPace;
  #epoch = 0;
  /** Unlike the epoch it is of this lake alone, however often the dataset was made anew. */
  #owner = '';
  #histories = new Map<string, TableHistory>();
  /** Tables of other shares: theirs to keep, but their names are taken. */
  #others: ReadonlyMap<string, TableLayout> = new Map();
  /** topic → what a truncate or a newer table of the name took away; stored with the checkpoint. */
  #floors: Record<string, PositionText> = {};
  /** Everything at or below it is visible: where the next transaction starts from. */
  #published: PositionText = positionZero;
  /** What the next published batch brings with it: statements in order, staging tables, changed views. */
  #pending: string[] = [];
  #stages: string[] = [];
  /** Rows that travel with the statements, and their bytes. Topics whose tables the pending statements change, and the number of cuts that they are of. */
  #parameters: TextParameter[] = [];
  #inlineBytes = 0;
  readonly #changed = new Set<string>();
  #cutCount = 0;
  readonly #views = new Map<string, TableLayout>();
  /** What ended this owner's work: every later call fails with it. */
  #end: unknown = new PipelineError('sink-failed', 'the BigQuery sink is not open');

  constructor(options: BigquerySinkOptions) {
    this.#options = options;
    this.#lake = new LakeConnection(options);
    this.#engine = bigqueryEngine(options.dataset);
    const { dataset, share = 0, shares = 1 } = options;
    assert(share < shares, 'shares are numbered from 0');
    this.#tables = { dataset, share, shares };
    const { spacingMsMin, spacingMsMax, scanBytesPerHourMax } = options;
    this.#pace = new LoadPace({
      spacing: {
        shares,
        ...(spacingMsMin === undefined ? {} : { spacingMsMin }),
        ...(spacingMsMax === undefined ? {} : { spacingMsMax }),
        ...(scanBytesPerHourMax === undefined ? {} : { scanBytesPerHourMax }),
      },
      usage: () => this.#lake.usage,
    });
  }

  async open(): Promise<Checkpoint> {
    await this.close();
    const { checkpoint, floors, owner } = await takeCheckpoint(this.#lake, this.#tables);
    this.#histories = new Map();
    const stored = await readLayouts(this.#lake, this.#tables);
    const { share, shares } = this.#tables;
    const isOurs = (layout: TableLayout) => shareOf(tableName(layout), shares) === share;
    for (const layout of stored.filter(isOurs)) this.#historyOf(layout.topic).add(layout);
    const others = stored.filter((layout) => !isOurs(layout));
    this.#others = new Map(others.map((layout) => [layout.topic, layout]));
    // An owner that died between a commit and its views left them behind the tables.
    const layouts = [...this.#histories.values()].flatMap(({ newest }) => newest ?? []);
    await this.#eachLayout(layouts, (layout) => this.#mendView(layout));
    this.#pace.start(await readLoadsToday(this.#lake, this.#tables));
    this.#end = undefined;
    this.#epoch = checkpoint.epoch;
    this.#owner = owner;
    this.#published = checkpoint.applied;
    this.#floors = { ...floors };
    return checkpoint;
  }

  async evolve(version: TableVersion): Promise<void> {
    this.#refuseWhenEnded();
    const history = this.#historyOf(version.topic);
    const { newest } = history;
    // An older version, met again after a crash: its columns are all there.
    if (newest !== undefined && version.from < newest.from) return;
    const layouts = [...this.#histories.values()].flatMap((one) => one.newest ?? []);
    refuseAlikeTables(this.#engine, version, [...layouts, ...this.#others.values()]);
    const evolution = planEvolution(this.#engine, newest, version);
    if (newest?.from === version.from && evolution.steps.length === 0) return;
    const isPending = this.#pending.length > 0;
    await this.#orAbandon(async () => {
      const statements = await evolveTable(this.#lake, this.#engine, evolution);
      const { layout, notes } = evolution;
      this.#pending.push(...statements, recordLayoutSql(this.#tables, layout, notes));
      if (statements.length > 0) this.#changed.add(version.topic);
      this.#views.set(version.topic, layout);
      history.add(layout);
      // With nothing pending the change of shape stands by itself.
      if (!isPending) await this.#commitShape();
    });
  }

  async apply(batch: SinkBatch): Promise<void> {
    this.#refuseWhenEnded();
    const startedAt = performance.now();
    await this.#orAbandon(async () => {
      this.#step('begun');
      this.#applyFloors(batch.cut.cut);
      for (const { version } of batch.tables) this.#changed.add(version.topic);
      this.#cutCount += 1;
      const { shares } = this.#tables;
      refuseManyTables(this.#changed.size, { known: this.#histories.size, shares });
      if (batch.deadLetters.length > 0) await this.#stageLetters(batch);
      await this.#stageTables(batch);
      this.#step('staged');
      const durationMs = performance.now() - startedAt;
      const pace = this.#pace.takeForLedger();
      const entry = { batch, floors: this.#floors, durationMs, pace };
      this.#pending.push(ledgerSql(this.#tables, entry));
      // Said with the batch that makes it too long, not after hours at the end of its transaction.
      refuseLongScript(Buffer.byteLength(this.#script()), this.#cutCount);
      if (!batch.cut.publish) return;
      this.#pending.push(...publishSql(this.#tables, entry));
      this.#step('before-commit');
      await this.#commit(batch);
      const report = this.#pace.noteBatch();
      this.#options.onPace?.(report);
      this.#step('after-commit');
    });
  }

  /** A batch that is not published is one of several of a transaction: the next one need not wait. */
  pauseMs(): number {
    return this.#pending.length > 0 ? 0 : this.#pace.spacing.ms;
  }

  /** Nothing is locked. */
  async lend<T>(use: () => Promise<T>): Promise<T> {
    this.#refuseWhenEnded();
    return await use();
  }

  async close(): Promise<void> {
    this.#forgetPending();
    this.#end = new PipelineError('sink-failed', 'the BigQuery sink is closed');
  }

  async #stageLetters({ deadLetters, id }: SinkBatch): Promise<void> {
    const table = this.#stageName(id, 'dead letters');
    this.#stages.push(table);
    const fields = deadLetterFields;
    await this.#lake.createTable({ name: table, fields, lifetimeMs: stageLifetimeMs });
    const rows = stagedLetters(deadLetters);
    await this.#lake.load({ jobId: `tributary_load_${table}`, table, fields, rows });
    this.#pending.push(deadLettersSql(this.#tables, table, id));
  }

  /** The tables are loaded side by side; their statements keep their order. */
  async #stageTables(batch: SinkBatch): Promise<void> {
    const loadedAtUs = BigInt(Date.now()) * 1000n;
    const inFlight = new InFlight(loadsInFlightMax);
    const load = async (table: TableBatch) => {
      const { version, fold } = table;
      const layout = this.#historyOf(version.topic).of(version);
      assert(layout, `${tableName(version.table)} was evolved before its first batch`);
      if (fold.floor !== null) this.#floors[version.topic] = fold.floor;
      const stage = this.#stageName(batch.id, version.topic);
      const applied = await applyTable({
        lake: this.#lake,
        layout,
        batch: table,
        batchId: batch.id,
        loadedAtUs,
        floor: this.#floors[version.topic] ?? null,
        stage,
        inlineBytesMax: this.#options.inlineTableBytesMax ?? inlineTableBytesMax,
        takeInline: (text) => this.#takeInline(text),
      });
      if (applied.parameter === null) this.#stages.push(stage);
      else this.#parameters.push(applied.parameter);
      return applied.statements;
    };
    const loads = batch.tables.map((table) => inFlight.run(() => load(table)));
    // All have ended before one's failure is told: nothing of this owner is then at work.
    for (const loaded of await Promise.allSettled(loads)) {
      if (loaded.status === 'rejected') throw loaded.reason;
      this.#pending.push(...loaded.value);
    }
  }

  #takeInline(text: string): boolean {
    const bytes = this.#inlineBytes + Buffer.byteLength(text);
    if (bytes > inlineBytesMax) return false;
    this.#inlineBytes = bytes;
    return true;
  }

  /**
   * Of one owner: what another one staged under the same batch is never touched. It names the load job
   * as well, and job ids are one space a project: an id of another lake's would pass for a load of ours.
   */
  #stageName(batchId: string, topic: string): string {
    const name = JSON.stringify([batchId, topic, this.#owner]);
    return `_tributary_stage_${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;
  }

  /** Rows of a table that was dropped and created again go when the cut passes that point. */
  #applyFloors(cut: PositionText): void {
    for (const [topic, { floor, newest }] of this.#histories) {
      if (floor === null || newest === undefined || floor > cut) continue;
      if (floor <= (this.#floors[topic] ?? positionZero)) continue;
      this.#pending.push(applyFloorSql(this.#engine.namesOf(newest), floor));
      this.#changed.add(topic);
      this.#floors[topic] = floor;
    }
  }

  async #commitShape(): Promise<void> {
    await this.#lake.run(this.#script(), this.#parameters);
    await this.#storedCheckpoint();
    await this.#swapViews();
    this.#forgetPending();
  }

  /** What is pending, in one transaction that does nothing unless the lake is where this owner left it. */
  #script(): string {
    const from = { epoch: this.#epoch, applied: this.#published };
    return guardedScript(this.#tables, from, this.#pending);
  }

  /** Throws `sink-fenced` when another owner has raised the epoch. */
  async #storedCheckpoint() {
    const stored = await readCheckpoint(this.#lake, this.#tables);
    if (stored === null || stored.checkpoint.epoch !== this.#epoch) {
      throw fencedError(this.#epoch, stored?.checkpoint.epoch);
    }
    return stored;
  }

  async #swapViews(): Promise<void> {
    await this.#eachLayout([...this.#views.values()], (layout) => this.#swapView(layout));
  }

  async #eachLayout(
    layouts: readonly TableLayout[],
    work: (layout: TableLayout) => Promise<void>,
  ): Promise<void> {
    const requests = new InFlight(loadsInFlightMax);
    await Promise.all(layouts.map((layout) => requests.run(() => work(layout))));
  }

  /** One transaction. What became of it, the checkpoint says: also when its reply was lost. */
  async #commit(batch: SinkBatch): Promise<void> {
    const failure: unknown = await this.#lake.run(this.#script(), this.#parameters).then(
      () => undefined,
      (error: unknown) => error,
    );
    const stored = await this.#storedCheckpoint();
    if (stored.checkpoint.applied !== batch.checkpoint.applied || stored.batchId !== batch.id) {
      throw failure ?? new PipelineError('sink-corrupt', 'the lake did not take a batch');
    }
    this.#published = batch.checkpoint.applied;
    await this.#swapViews();
    const stages = this.#stages;
    this.#forgetPending();
    // They expire by themselves if this fails.
    await Promise.allSettled(stages.map((stage) => this.#lake.dropTable(stage)));
  }

  async #swapView(layout: TableLayout): Promise<void> {
    const names = this.#engine.namesOf(layout);
    await this.#lake.run(viewSql(names, viewQuery(names, layout)));
  }

  /** Swaps a view that is not what it should be. */
  async #mendView(layout: TableLayout): Promise<void> {
    const names = this.#engine.namesOf(layout);
    const stored = await this.#lake.viewQuery(names.view);
    if (stored?.trim() !== viewQuery(names, layout)) await this.#swapView(layout);
  }

  /** On any failure back to the checkpoint: this owner's work has ended, a new one goes on from there. */
  async #orAbandon(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#end ??= error;
      this.#forgetPending();
      throw this.#end;
    }
  }

  #forgetPending(): void {
    this.#pending = [];
    this.#stages = [];
    this.#parameters = [];
    this.#inlineBytes = 0;
    this.#changed.clear();
    this.#cutCount = 0;
    this.#views.clear();
  }

  #historyOf(topic: string): TableHistory {
    const known = this.#histories.get(topic);
    if (known !== undefined) return known;
    const history = new TableHistory(this.#engine.namesOf);
    this.#histories.set(topic, history);
    return history;
  }

  #refuseWhenEnded(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  #step(step: BigquerySinkStep): void {
    this.#options.onStep?.(step);
  }
}
