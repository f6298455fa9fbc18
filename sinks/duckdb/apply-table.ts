import type { PositionText } from '../../schemas/position.ts';
import type { TableBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import type { VersionLayout } from '../lake/layout.ts';
import {
  appendChangesSql,
  applyFloorSql,
  baseExactsSql,
  baseTable,
  deleteOlderSql,
  dropStageSql,
  fillUnchangedSql,
  insertStateSql,
  removedTable,
  removeKeylessSql,
  setExactSql,
  stageTable,
  type StageTraits,
} from './sql.ts';
import { stageBatch } from './stage.ts';

export interface TableApplication {
  readonly lake: LakeConnection;
  readonly layout: VersionLayout;
  readonly batch: TableBatch;
  readonly batchId: string;
  readonly loadedAtUs: bigint;
  /** Everything at or below it was applied before this batch. */
  readonly applied: PositionText;
  /** The table's floor with this batch's truncates, null without one. */
  readonly floor: PositionText | null;
  /** Called when the rows are staged, before any table of the lake is touched. */
  readonly onStaged: () => void;
}

/** Appends a table's changes and merges its state, within the open transaction. */
export async function applyTable(application: TableApplication): Promise<void> {
  const { lake, layout, batch, batchId, loadedAtUs, floor } = application;
  const { fold } = batch;
  const { traits, hasBases } = await stageBatch(lake, layout, batch);
  application.onStaged();
  await lake.run(appendChangesSql(layout, traits, { batchId, loadedAtUs }));
  // Taken from the rows as they were, so before any of them goes.
  if (hasBases) await fillUnchanged(lake, layout, traits);
  const mayBeStale = batch.changes.some(({ seq }) => seq <= application.applied);
  const hasState = fold.rows.length + fold.added.length > 0;
  // In one go: this process has other work, and DuckDB would wait for it between two of them.
  await lake.run(
    [
      ...(fold.floor === null ? [] : [applyFloorSql(layout.names, fold.floor)]),
      ...(fold.removed.length === 0 ? [] : [removeKeylessSql(layout)]),
      ...(fold.rows.length === 0 ? [] : [deleteOlderSql(layout, traits)]),
      ...(hasState ? [insertStateSql(layout, traits, { floor, mayBeStale })] : []),
      ...[stageTable, baseTable, removedTable].map(dropStageSql),
    ].join(';\n'),
  );
}

async function fillUnchanged(
  lake: LakeConnection,
  layout: VersionLayout,
  traits: StageTraits,
): Promise<void> {
  const exacts = await lake.rows(baseExactsSql(layout, traits));
  await lake.run(fillUnchangedSql(layout, traits));
  for (const { n, stored, own, unchanged } of exacts) {
    const set = traits.unchangedSets[Number(unchanged) - 1] ?? [];
    const names = new Set(set.map((index) => layout.columns[index]?.physical));
    const kept = Object.entries(parseExact(stored)).filter(([name]) => names.has(name));
    const merged = { ...parseExact(own), ...Object.fromEntries(kept) };
    // In the order of the columns, so that equal rows have equal texts.
    const ordered = layout.columns.flatMap(({ physical }) => {
      const text = merged[physical];
      return text === undefined ? [] : [[physical, text] as const];
    });
    const exact = ordered.length === 0 ? null : JSON.stringify(Object.fromEntries(ordered));
    await lake.run(setExactSql(Number(n), exact));
  }
}

/** `_cdc_exact` of a row: physical column name → exact text. */
export function parseExact(json: unknown): Readonly<Record<string, string>> {
  return typeof json === 'string' ? (JSON.parse(json) as Record<string, string>) : {};
}
