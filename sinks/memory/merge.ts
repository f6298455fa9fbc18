import type { Change, RowImage } from '../../schemas/change.ts';
import { type TableVersion, tableName } from '../../schemas/table-schema.ts';
import { assert } from '../../runtime/assert.ts';
import { valueIdentity } from '../../schemas/value-identity.ts';
import type { FoldedRow, SinkBatch, TableBatch } from '../sink.ts';
import type { MemoryContent, MemoryTable, NamedValues, StateRow } from './client.ts';
import { stateIdentity } from './schema.ts';

/** Appends the changes and merges the folds of a batch: what SQL does elsewhere. */
export function mergeBatch(content: MemoryContent, batch: SinkBatch): void {
  for (const part of batch.tables) {
    const table = content.tables.get(tableName(part.version.table));
    assert(table, `${tableName(part.version.table)} was evolved before its first batch`);
    for (const change of part.changes) {
      const values = named(part.version, imageOf(change));
      table.changes.push({ change, values, batchId: batch.id });
    }
    if (part.version.table.key.length === 0) mergeBag(table, part);
    else mergeState(table, part);
  }
  content.checkpoint = batch.checkpoint;
  content.watermarks.push(batch.cut);
  content.deadLetters.push(...batch.deadLetters);
}

function imageOf(change: Change): RowImage {
  if (change.op === 't') return [];
  return change.op === 'd' ? change.before : change.after;
}

function named(version: TableVersion, image: RowImage): NamedValues {
  return Object.fromEntries(
    version.table.columns.map((column, index) => [column.name, image[index] ?? null]),
  );
}

function mergeState(table: MemoryTable, part: TableBatch): void {
  const { version, fold } = part;
  // Every row is made from the rows before the batch, then all are put in: keys may have swapped.
  const rows = fold.rows.map((row) => stateRow(table, version, row));
  const { floor } = fold;
  if (floor !== null) {
    for (const [identity, row] of table.state) {
      if (row.seq < floor) table.state.set(identity, { ...row, deleted: true, seq: floor });
    }
  }
  for (const row of rows) {
    const identity = stateIdentity(version, row.values);
    const stored = table.state.get(identity);
    if (stored === undefined || stored.seq < row.seq) table.state.set(identity, row);
  }
}

function stateRow(table: MemoryTable, version: TableVersion, row: FoldedRow): StateRow {
  const { seq, committedAtUs } = row.change;
  const origin = { seq, committedAtUs, deleted: row.deleted };
  if (row.deleted) return { ...origin, values: named(version, row.key) };
  const values: Record<string, NamedValues[string]> = { ...named(version, row.image) };
  if (row.unchanged.length > 0) {
    const base = table.state.get(stateIdentity(version, named(version, row.baseKey)));
    for (const index of row.unchanged) {
      const name = version.table.columns[index]?.name ?? '';
      values[name] = (base?.deleted === false ? base.values[name] : null) ?? null;
    }
  }
  return { ...origin, values };
}

function mergeBag(table: MemoryTable, part: TableBatch): void {
  const { fold, version } = part;
  const { floor } = fold;
  if (floor !== null) table.bag = table.bag.filter((row) => row.seq > floor);
  const identityOf = (values: NamedValues) =>
    valueIdentity(version.table.columns.map((column) => values[column.name] ?? null));
  for (const image of fold.removed) {
    const wanted = identityOf(named(version, image));
    const index = table.bag.findIndex((row) => identityOf(row.values) === wanted);
    if (index >= 0) table.bag.splice(index, 1);
  }
  for (const { change, image } of fold.added) {
    const { seq, committedAtUs } = change;
    table.bag.push({ values: named(version, image), seq, committedAtUs, deleted: false });
  }
}
