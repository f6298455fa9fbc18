import { createHash } from 'node:crypto';
import type { Change } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { VersionLayout } from '../lake/layout.ts';
import type { TableBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { inlineRelation, inlineRows, type TextParameter } from './inline-rows.ts';
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
  /** Those of the batch's changes that are to be appended in the transaction; none where they are streamed. */
  readonly appended: readonly Change[];
  readonly batchId: string;
  readonly loadedAtUs: bigint;
  /** The table's floor with this batch's truncates, null without one. */
  readonly floor: PositionText | null;
  /** Name of the staging table; it and the batch name the load job. */
  readonly stage: string;
  /** Rows of no more bytes may travel with the statements. */
  readonly inlineBytesMax: number;
  /** Says whether a publication has room for them, and takes it. */
  readonly takeInline: (text: string) => boolean;
}

/** An owner that dies leaves its staging tables; they go by themselves. */
export const stageLifetimeMs = 24 * 3_600_000;

/**
 * A staging table of one owner: what another one staged under the same batch is never touched. It names the load
 * job as well, and job ids are one space a project: an id of another lake's would pass for a load of ours.
 */
export function stageName(batchId: string, content: string, owner: string): string {
  const name = JSON.stringify([batchId, content, owner]);
  return `_tributary_stage_${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;
}

/** The statements that append a table's changes and merge its state. */
export interface AppliedTable {
  readonly statements: readonly string[];
  /** Its rows, where they travel with the statements and no staging table was made. */
  readonly parameter: TextParameter | null;
}

/** Loads a table's part of a batch, or hands its rows on with the statements. */
export async function applyTable(application: TableApplication): Promise<AppliedTable> {
  const { lake, layout, batch, appended, batchId, loadedAtUs, floor } = application;
  const { fold } = batch;
  const staged = stageBatch(layout, batch, appended);
  const fields = stageFields(layout);
  const { stage: name } = application;
  const columnCount = layout.columns.length;
  const bytesMax = application.inlineBytesMax;
  const text = inlineRows(staged.rows, { columnCount, bytesMax });
  const parameter = text === null || !application.takeInline(text) ? null : { name, value: text };
  if (parameter === null && staged.rows.length > 0) {
    await lake.createTable({ name, fields, lifetimeMs: stageLifetimeMs });
    await lake.load({ jobId: `tributary_load_${name}`, table: name, fields, rows: staged.rows });
  }
  const stage =
    parameter === null ? relation(lake.dataset, name) : inlineRelation(parameter.name, fields);
  const { hasExactKeys, filled } = staged;
  const merge = { stage, floor, hasExactKeys, filled };
  const statements: string[] = [];
  if (appended.length > 0) {
    statements.push(appendChangesSql(layout, { stage, batchId, loadedAtUs }));
  }
  // Unchanged columns are taken from rows as they were, so a floor goes after the merge: its rows are
  // below it, and the staged ones that may enter are not.
  if (fold.rows.length > 0 && keysOf(layout).length > 0) {
    statements.push(mergeStateSql(layout, merge));
  }
  if (fold.floor !== null) statements.push(applyFloorSql(layout.names, fold.floor));
  if (fold.removed.length > 0) statements.push(removeKeylessSql(layout, stage));
  if (fold.added.length > 0) statements.push(insertStateSql(layout, merge));
  return { statements, parameter };
}

/** `_cdc_exact` of a row: physical column name → exact text. */
export function parseExact(json: string | null): Readonly<Record<string, string>> {
  return json === null ? {} : (JSON.parse(json) as Record<string, string>);
}
