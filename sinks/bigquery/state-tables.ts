import type { TableLayout } from '../lake/layout.ts';
import type { LakeEngine } from '../lake/plan-evolution.ts';
import type { LakeNames } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { createState } from './create-table.ts';
import { listTables } from './list-tables.ts';
import { orphanedStates } from './orphaned-states.ts';
import { refuseOtherEpoch, type ShareTables } from './shared-tables.ts';
import { copyStateSql, type FilledColumn } from './sql.ts';
import {
  canBeKeyed,
  keyColumns,
  placedNames,
  type StatePlace,
  type StatePlaces,
} from './state-place.ts';

export interface StateOwner {
  readonly lake: LakeConnection;
  readonly engine: LakeEngine;
  readonly tables: ShareTables;
  readonly epoch: number;
  /** In the names of new tables: no two owners ever make one of the same name. */
  readonly owner: string;
  /** Whether rows are to come by key where they can. */
  readonly isKeyed: boolean;
  readonly maxStalenessMinutes?: number;
}

/**
 * Which table holds each source table's rows, for one owner. Where rows come by key, no statement may change
 * them: what would (a truncate, a constant for rows that exist, another key) makes a new table, which the view
 * and the checkpoint take over together with the batch. What is in a table that no checkpoint names is nobody's.
 */
export class StateTables {
  readonly #owner: StateOwner;
  readonly #places: Record<string, StatePlace>;
  #replaced: string[] = [];
  #made = 0;

  constructor(owner: StateOwner, places: StatePlaces) {
    this.#owner = owner;
    this.#places = { ...places };
  }

  /** To be stored with the checkpoint. */
  get places(): StatePlaces {
    return this.#places;
  }

  isKeyed(topic: string): boolean {
    return this.#places[topic]?.isKeyed ?? false;
  }

  names(layout: Pick<TableLayout, 'topic' | 'schema' | 'name'>): LakeNames {
    return placedNames(this.#owner.engine.namesOf(layout), this.#places[layout.topic]);
  }

  /** Says where the rows of a table that is new to the lake will be. */
  place(layout: TableLayout): void {
    if (this.#wantsKeyed(layout)) this.#nextPlace(layout, true);
  }

  /** Creates the table at its place. */
  async create(layout: TableLayout): Promise<void> {
    const { lake, maxStalenessMinutes } = this.#owner;
    const isKeyed = this.isKeyed(layout.topic);
    const staleness = isKeyed && maxStalenessMinutes !== undefined ? { maxStalenessMinutes } : {};
    await createState(lake, { names: this.names(layout), layout, ...staleness });
  }

  /** Whether this layout's rows cannot stay where the rows of the one before it are. */
  mustMove(before: TableLayout, layout: TableLayout, fills: readonly FilledColumn[]): boolean {
    const { topic } = layout;
    if (this.#wantsKeyed(layout) !== this.isKeyed(topic)) return true;
    if (!this.isKeyed(topic)) return false;
    const keys = [before, layout].map((one) => keyColumns(one).map(({ physical }) => physical));
    return fills.length > 0 || JSON.stringify(keys[0]) !== JSON.stringify(keys[1]);
  }

  /** Takes the rows over into a new table, with constants for columns that came later. */
  async move(layout: TableLayout, fills: readonly FilledColumn[]): Promise<void> {
    const from = this.names(layout);
    await this.replace(layout, this.#wantsKeyed(layout));
    const to = this.names(layout);
    await this.#owner.lake.run(copyStateSql({ from, to, layout, fills }));
  }

  /** A new table without rows. */
  async replace(layout: TableLayout, isKeyed: boolean = this.isKeyed(layout.topic)): Promise<void> {
    this.#replaced.push(this.names(layout).state);
    this.#nextPlace(layout, isKeyed);
    await this.create(layout);
  }

  /** Once the checkpoint and the views name the new ones. What cannot be dropped is tried again with the next. */
  async dropReplaced(): Promise<void> {
    const doomed = this.#replaced;
    this.#replaced = [];
    const dropped = await this.#drop(doomed);
    this.#replaced.push(...doomed.filter((_, index) => dropped[index]?.status === 'rejected'));
  }

  /**
   * Drops what owners before this one left of these tables: replaced tables, and new ones of which they died before
   * a checkpoint named them. The views name the right ones already. Throws `sink-fenced` when another owner took over.
   *
   * All that is listed was there before this epoch is seen to be the newest, so it is no later owner's. What is made
   * by owners before this one and is not named by the checkpoint now, no checkpoint ever names: they are fenced, and
   * a later owner takes over names from the checkpoint and makes only its own.
   */
  async dropOrphans(layouts: readonly TableLayout[]): Promise<void> {
    const { lake, engine, tables, epoch } = this.#owner;
    const kept = layouts.map((layout) => ({
      state: engine.namesOf(layout).state,
      place: this.names(layout).state,
    }));
    // Loading does not wait for tidiness: the next owner looks again.
    const orphans = orphanedStates(await listTables(lake).catch(() => []), kept);
    if (orphans.length === 0) return;
    await refuseOtherEpoch(lake, tables, epoch);
    await this.#drop(orphans);
  }

  #drop(names: readonly string[]): Promise<readonly PromiseSettledResult<void>[]> {
    return Promise.allSettled(names.map((name) => this.#owner.lake.dropTable(name)));
  }

  #wantsKeyed(layout: TableLayout): boolean {
    return this.#owner.isKeyed && canBeKeyed(layout);
  }

  #nextPlace(layout: TableLayout, isKeyed: boolean): void {
    const { engine, owner } = this.#owner;
    this.#made += 1;
    const table = `${engine.namesOf(layout).state}_${owner.slice(0, 8)}_${this.#made}`;
    this.#places[layout.topic] = { table, isKeyed };
  }
}
