import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { Change } from '../../schemas/change.ts';
import { newerPosition, type PositionText, positionZero } from '../../schemas/position.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { TableHistory, type TableLayout, type VersionLayout } from '../lake/layout.ts';
import { type LakeEngine, planEvolution, refuseAlikeTables } from '../lake/plan-evolution.ts';
import type { Checkpoint, Refusal, Sink, SinkBatch, TableBatch } from '../sink.ts';
import { type AppliedTable, applyTable, stageName } from './apply-table.ts';
import { LakeConnection } from './client.ts';
import { defaultPolicy, type PolicyOf, refuseOtherTypes, withKinds } from './column-policy.ts';
import { readWaitingRows, stageLetters } from './dead-letters.ts';
import type { RowsOrigin } from './encode-row.ts';
import { evolveTable } from './evolve-table.ts';
import { InFlight, loadsInFlightMax } from './in-flight.ts';
import { type LoadPace, loadPace, type PaceReport, type PaceSettings } from './load-pace.ts';
import { inlineTableBytesMax } from './inline-rows.ts';
import { Pending } from './pending.ts';
import { bigqueryEngine } from './schema.ts';
import { refuseLongScript, refuseManyTables } from './script-limits.ts';
import {
  guardedScript,
  isOfShare,
  ledgerSql,
  placeStatesSql,
  publishSql,
  readLayouts,
  readLoadsToday,
  recordLayoutSql,
  refuseOtherEpoch,
  type ShareTables,
  takeCheckpoint,
} from './shared-tables.ts';
import { type SinkParts, takeParts, type WriteOptions } from './sink-parts.ts';
import { applyFloorSql } from './sql.ts';
import { UnfitRows } from './unfit-rows.ts';
import { Views } from './views.ts';

/** Where a test may let the sink die: `onStep` throws. */
export const bigquerySinkSteps = [
  'begun',
  'appended',
  'written',
  'staged',
  'before-commit',
  'after-commit',
] as const;
export type BigquerySinkStep = (typeof bigquerySinkSteps)[number];

export interface BigquerySinkOptions extends WriteOptions, PaceSettings {
  /** Number of the share that this sink loads; 0 where there is one. */
  readonly share?: number;
  /** Number of shares: 1 if left out. Of a lake it is always the same. */
  readonly shares?: number;
  /** A table's rows of no more bytes travel with the statements, without a load; 0: all are loaded. */
  readonly inlineTableBytesMax?: number | undefined;
  /** Told after each published batch. */
  readonly onPace?: (report: PaceReport) => void;
  readonly onStep?: (step: BigquerySinkStep) => void;
}

/**
 * A lake in one dataset of BigQuery. `batch`: changes, state and checkpoint in one transaction. `stream`: changes
 * are in `T__changes` as soon as they are read, above the checkpoint if need be; state and checkpoint as in `batch`.
 * `bigquery-cdc`: rows too are there as soon as they are read, so that a reader may see the tables of a batch one
 * after the other; the checkpoint follows. Tables whose key BigQuery cannot take are merged as in `batch`.
 */
export function createBigquerySink(options: BigquerySinkOptions): Sink {
  return new BigquerySink(options);
}

class BigquerySink implements Sink {
  readonly #options: BigquerySinkOptions;
  readonly #lake: LakeConnection;
  readonly #policyOf: PolicyOf;
  readonly #engine: LakeEngine;
  readonly #tables: ShareTables;
  #parts: SinkParts | null = null;
  readonly #pace: LoadPace;
  readonly #shown: Views;
  #unfit = new UnfitRows(() => defaultPolicy, new Map());
  #epoch = 0;
  /** Unlike the epoch it is of this lake alone, however often the dataset was made anew. */
  #owner = '';
  #histories = new Map<string, TableHistory>();
  /** topic → what a truncate or a newer table of the name took away; stored with the checkpoint. */
  #floors: Record<string, PositionText> = {};
  /** Everything at or below it is visible: where the next transaction starts from. */
  #published: PositionText = positionZero;
  #pending = new Pending();
  /** Tables of other shares: theirs to keep, but their names are taken. */
  #others: readonly TableLayout[] = [];
  /** What ended this owner's work: every later call fails with it. */
  #end: unknown = new PipelineError('sink-failed', 'the BigQuery sink is not open');

  constructor(options: BigquerySinkOptions) {
    this.#options = options;
    this.#lake = new LakeConnection(options);
    this.#policyOf = options.policyOf ?? (() => defaultPolicy);
    this.#engine = bigqueryEngine(options.dataset, this.#policyOf);
    this.#shown = new Views(this.#lake, (layout) => this.#open.states.names(layout));
    const { dataset, share = 0, shares = 1 } = options;
    assert(share < shares, 'shares are numbered from 0');
    this.#tables = { dataset, share, shares };
    this.#pace = loadPace(options, shares, () => this.#lake.usage);
  }

  async open(): Promise<Checkpoint> {
    await this.close();
    const taken = await takeCheckpoint(this.#lake, this.#tables);
    const { checkpoint, floors, owner } = taken;
    this.#parts = await takeParts({
      ...this.#options,
      lake: this.#lake,
      engine: this.#engine,
      tables: this.#tables,
      taken,
      onWritten: () => this.#step('written'),
    });
    this.#histories = new Map();
    const isOurs = (layout: TableLayout) => isOfShare(this.#tables, layout);
    const stored = await readLayouts(this.#lake, this.#tables);
    for (const layout of stored.filter(isOurs)) this.#historyOf(layout.topic).add(layout);
    const others = stored.filter((layout) => !isOurs(layout));
    this.#others = [...new Map(others.map((layout) => [layout.topic, layout])).values()];
    // An owner that died between a commit and its views left them behind the tables.
    const layouts = [...this.#histories.values()].flatMap(({ newest }) => newest ?? []);
    refuseOtherTypes(layouts, this.#policyOf);
    await this.#shown.mend(layouts, () =>
      refuseOtherEpoch(this.#lake, this.#tables, checkpoint.epoch),
    );
    await this.#open.states.dropOrphans(layouts);
    const gone = { histories: this.#histories, floors };
    const rows = await readWaitingRows(this.#lake, this.#tables, gone);
    this.#unfit = new UnfitRows(this.#policyOf, rows);
    this.#pace.start(await readLoadsToday(this.#lake, this.#tables));
    this.#end = undefined;
    this.#epoch = checkpoint.epoch;
    this.#owner = owner;
    this.#published = checkpoint.applied;
    this.#floors = { ...floors };
    return checkpoint;
  }

  refuse(change: Change, key: Uint8Array | null): Refusal | null {
    return this.#unfit.refuse(change, key);
  }

  async evolve(version: TableVersion): Promise<void> {
    this.#refuseWhenEnded();
    const history = this.#historyOf(version.topic);
    const { newest } = history;
    if (newest !== undefined) refuseOtherTypes([withKinds(newest, version)], this.#policyOf);
    if (newest !== undefined) await this.#orAbandon(() => this.#moveState(newest));
    // An older version, met again after a crash: its columns are all there.
    if (newest !== undefined && version.from < newest.from) return;
    const layouts = [...this.#histories.values()].flatMap((one) => one.newest ?? []);
    refuseAlikeTables(this.#engine, version, [...layouts, ...this.#others]);
    const evolution = planEvolution(this.#engine, newest, version);
    if (newest?.from === version.from && evolution.steps.length === 0) return;
    const isPending = !this.#pending.isEmpty;
    await this.#orAbandon(async () => {
      const { layout, notes } = evolution;
      const statements = await evolveTable({
        lake: this.#lake,
        states: this.#open.states,
        before: newest,
        evolution,
        canMove: this.#canMove(layout),
      });
      this.#pending.statements.push(...statements, recordLayoutSql(this.#tables, layout, notes));
      if (statements.length > 0) this.#pending.changed.add(version.topic);
      this.#pending.views.set(version.topic, layout);
      history.add(layout);
      // With nothing pending the change of shape stands by itself.
      if (!isPending) await this.#commitShape();
    });
  }

  /** Rows that another mode left where this one does not write. */
  async #moveState(layout: TableLayout): Promise<void> {
    const { states } = this.#open;
    if (!this.#canMove(layout) || !states.mustMove(layout, layout, [])) return;
    const isPending = !this.#pending.isEmpty;
    await states.move(layout, []);
    this.#pending.views.set(layout.topic, layout);
    if (!isPending) await this.#commitShape();
  }

  /** Rows that are still to be merged would be missing in a copy: then the table stays as it is for now. */
  #canMove({ topic }: TableLayout): boolean {
    return this.#pending.isEmpty || this.#open.states.isKeyed(topic);
  }

  async apply(batch: SinkBatch): Promise<void> {
    this.#refuseWhenEnded();
    const startedAt = performance.now();
    await this.#orAbandon(async () => {
      this.#step('begun');
      // What is written by key is no part of a transaction.
      if (this.#options.mode === 'bigquery-cdc') {
        await refuseOtherEpoch(this.#lake, this.#tables, this.#epoch);
      }
      await this.#applyFloors(batch.cut.cut);
      for (const { version } of batch.tables) this.#pending.changed.add(version.topic);
      this.#pending.cutCount += 1;
      const { shares } = this.#tables;
      refuseManyTables(this.#pending.changed.size, { known: this.#histories.size, shares });
      await this.#stageLetters(batch);
      await this.#loadTables(batch);
      this.#step('staged');
      const durationMs = performance.now() - startedAt;
      const { places } = this.#open.states;
      const pace = this.#pace.takeForLedger();
      const entry = { batch, floors: this.#floors, states: places, durationMs, pace };
      this.#pending.statements.push(ledgerSql(this.#tables, entry));
      // Said with the batch that makes it too long, not after hours at the end of its transaction.
      refuseLongScript(Buffer.byteLength(this.#script()), this.#pending.cutCount);
      if (!batch.cut.publish) return;
      this.#pending.statements.push(...publishSql(this.#tables, entry));
      this.#step('before-commit');
      await this.#commit(batch);
      const report = this.#pace.noteBatch();
      this.#options.onPace?.(report);
      this.#step('after-commit');
    });
  }

  /** A batch that is not published is one of several of a transaction: the next one need not wait. */
  pauseMs(): number {
    return !this.#pending.isEmpty ? 0 : this.#pace.spacing.ms;
  }

  /** Nothing is locked. */
  async lend<T>(use: () => Promise<T>): Promise<T> {
    this.#refuseWhenEnded();
    return await use();
  }

  async close(): Promise<void> {
    this.#pending = new Pending();
    await this.#parts?.writes.close();
    this.#parts = null;
    this.#end = new PipelineError('sink-failed', 'the BigQuery sink is closed');
  }

  async #stageLetters({ deadLetters: letters, id: batchId, checkpoint }: SinkBatch): Promise<void> {
    const settled = this.#unfit.takeSettled(checkpoint.applied);
    if (letters.length + settled.length === 0) return;
    const stage = stageName(batchId, 'dead letters', this.#owner);
    this.#pending.stages.push(stage);
    const given = { batchId, stage, letters, settled };
    this.#pending.statements.push(...(await stageLetters(this.#lake, this.#tables, given)));
  }

  /** The tables are loaded side by side; their statements keep their order. */
  async #loadTables(batch: SinkBatch): Promise<void> {
    const origin = { batchId: batch.id, loadedAtUs: BigInt(Date.now()) * 1000n };
    const inFlight = new InFlight(loadsInFlightMax);
    const loads = batch.tables.map((table) => inFlight.run(() => this.#loadTable(table, origin)));
    // All have ended before one's failure is told: nothing of this owner is then at work.
    for (const loaded of await Promise.allSettled(loads)) {
      if (loaded.status === 'rejected') throw loaded.reason;
      this.#pending.add(loaded.value);
    }
  }

  /** Gives the statements that the next transaction takes for the table. */
  async #loadTable(table: TableBatch, origin: RowsOrigin): Promise<AppliedTable> {
    const { version, fold } = table;
    const { topic } = version;
    const { changes, states } = this.#open;
    const layout = this.#layoutOf(version);
    const appended = await changes.append(layout, table.changes, origin);
    this.#step('appended');
    if (fold.floor !== null) this.#floors[topic] = fold.floor;
    if (states.isKeyed(topic)) {
      await this.#writeKeyed(table);
      return { statements: [], parameter: null };
    }
    const stage = stageName(origin.batchId, topic, this.#owner);
    const pending = this.#pending;
    const applied = await applyTable({
      lake: this.#lake,
      layout,
      batch: table,
      appended,
      ...origin,
      floor: this.#floors[topic] ?? null,
      stage,
      inlineBytesMax: this.#options.inlineTableBytesMax ?? inlineTableBytesMax,
      takeInline: (text) => pending.takeInline(text),
    });
    if (applied.parameter === null) pending.stages.push(stage);
    return applied;
  }

  async #writeKeyed({ version, fold }: TableBatch): Promise<void> {
    const { keyed } = this.#open;
    const { newest, floor } = this.#historyOf(version.topic);
    if (fold.floor !== null && newest !== undefined) await this.#replaceState(newest);
    const least = newerPosition(floor, this.#floors[version.topic] ?? null);
    await keyed.write(this.#layoutOf(version), fold.rows, least);
  }

  async #replaceState(layout: TableLayout): Promise<void> {
    await this.#open.states.replace(layout);
    this.#pending.views.set(layout.topic, layout);
  }

  #layoutOf(version: TableVersion): VersionLayout {
    const layout = this.#historyOf(version.topic).of(version);
    assert(layout, `${tableName(version.table)} was evolved before its first batch`);
    const { schema, name } = version.table;
    const names = this.#open.states.names({ topic: version.topic, schema, name });
    return { ...layout, names };
  }

  /** Rows of a table that was dropped and created again go when the cut passes that point. */
  async #applyFloors(cut: PositionText): Promise<void> {
    const { states } = this.#open;
    for (const [topic, { floor, newest }] of this.#histories) {
      if (floor === null || newest === undefined || floor > cut) continue;
      if (floor <= (this.#floors[topic] ?? positionZero)) continue;
      if (states.isKeyed(topic)) await this.#replaceState(newest);
      else this.#pending.statements.push(applyFloorSql(states.names(newest), floor));
      this.#pending.changed.add(topic);
      this.#floors[topic] = floor;
    }
  }

  async #commitShape(): Promise<void> {
    const { states } = this.#open;
    if (Object.keys(states.places).length > 0) {
      this.#pending.statements.push(placeStatesSql(this.#tables, states.places));
    }
    await this.#lake.run(this.#script(), this.#pending.parameters);
    await refuseOtherEpoch(this.#lake, this.#tables, this.#epoch);
    await this.#shown.swap(this.#pending.views.values());
    this.#pending = new Pending();
    await states.dropReplaced();
  }

  /** What is pending, in one transaction that does nothing unless the lake is where this owner left it. */
  #script(): string {
    const from = { epoch: this.#epoch, applied: this.#published };
    return guardedScript(this.#tables, from, this.#pending.statements);
  }

  /** One transaction. What became of it, the checkpoint says: also when its reply was lost. */
  async #commit(batch: SinkBatch): Promise<void> {
    const failure: unknown = await this.#lake.run(this.#script(), this.#pending.parameters).then(
      () => undefined,
      (error: unknown) => error,
    );
    const stored = await refuseOtherEpoch(this.#lake, this.#tables, this.#epoch);
    if (stored.checkpoint.applied !== batch.checkpoint.applied || stored.batchId !== batch.id) {
      throw failure ?? new PipelineError('sink-corrupt', 'the lake did not take a batch');
    }
    this.#published = batch.checkpoint.applied;
    await this.#shown.swap(this.#pending.views.values());
    const { stages } = this.#pending;
    this.#pending = new Pending();
    await this.#open.states.dropReplaced();
    // They expire by themselves if this fails.
    await Promise.allSettled(stages.map((stage) => this.#lake.dropTable(stage)));
  }

  /** On any failure back to the checkpoint: this owner's work has ended, a new one goes on from there. */
  async #orAbandon(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#end ??= error;
      this.#pending = new Pending();
      throw this.#end;
    }
  }

  #historyOf(topic: string): TableHistory {
    const history = this.#histories.get(topic) ?? new TableHistory(this.#engine.namesOf);
    this.#histories.set(topic, history);
    return history;
  }

  get #open(): SinkParts {
    assert(this.#parts, 'the sink is open');
    return this.#parts;
  }

  #refuseWhenEnded(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  #step(step: BigquerySinkStep): void {
    this.#options.onStep?.(step);
  }
}
