import type { PositionText } from '../../schemas/position.ts';
import type { VersionLayout } from '../lake/layout.ts';
import type { TableBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import {
  appendChangesSql,
  applyFloorSql,
  insertStateSql,
  keysOf,
  mergeStateSql,
  relation,
  removeKeylessSql,
  stageFields,
} from './sql.ts';
import { stageBatch } from './stage.ts';

export interface TableApplication {
  readonly lake: LakeConnection;
  readonly layout: VersionLayout;
  readonly batch: TableBatch;
  readonly batchId: string;
  readonly loadedAtUs: bigint;
  /** The table's floor with this batch's truncates, null without one. */
  readonly floor: PositionText | null;
  /** Name of the staging table; it and the batch name the load job. */
  readonly stage: string;
}

/** An owner that dies leaves its staging tables; they go by themselves. */
export const stageLifetimeMs = 24 * 3_600_000;

/** Loads a table's part of a batch; gives the statements that append its changes and merge its state. */
export async function applyTable(application: TableApplication): Promise<readonly string[]> {
  const { lake, layout, batch, batchId, loadedAtUs, floor } = application;
  const { fold } = batch;
  const staged = stageBatch(layout, batch);
  const fields = stageFields(layout);
  await lake.createTable({ name: application.stage, fields, lifetimeMs: stageLifetimeMs });
  await lake.load({
    jobId: `tributary_load_${application.stage}`,
    table: application.stage,
    fields,
    rows: staged.rows,
  });
  const stage = relation(lake.dataset, application.stage);
  const { hasExactKeys, filled } = staged;
  const merge = { stage, floor, hasExactKeys, filled };
  const statements = [appendChangesSql(layout, { stage, batchId, loadedAtUs })];
  // Unchanged columns are taken from rows as they were, so a floor goes after the merge: its rows are
  // below it, and the staged ones that may enter are not.
  if (fold.rows.length > 0 && keysOf(layout).length > 0) {
    statements.push(mergeStateSql(layout, merge));
  }
  if (fold.floor !== null) statements.push(applyFloorSql(layout.names, fold.floor));
  if (fold.removed.length > 0) statements.push(removeKeylessSql(layout, stage));
  if (fold.added.length > 0) statements.push(insertStateSql(layout, merge));
  return statements;
}

/** `_cdc_exact` of a row: physical column name → exact text. */
export function parseExact(json: string | null): Readonly<Record<string, string>> {
  return json === null ? {} : (JSON.parse(json) as Record<string, string>);
}
