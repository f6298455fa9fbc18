import { expect } from 'vitest';
import type { Change, RowImage } from '../../schemas/change.ts';
import type { Watermark } from '../../schemas/control.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { TableSchema, TableVersion } from '../../schemas/table-schema.ts';
import { makeBatch, splitAtVersions } from '../../sinks/batch.ts';
import type { Checkpoint, Sink, SinkBatch } from '../../sinks/sink.ts';
import { type History, sortedIdentities } from './sink-history.ts';
import type { LakeChange, SinkHarness } from './sink-suite.ts';

/** One of a history's cuts, and whether readers are to see it. */
export interface AppliedCut {
  readonly index: number;
  readonly publish: boolean;
}

export function watermarkAt(history: History, { index, publish }: AppliedCut): Watermark {
  const cut = history.cuts[index];
  if (cut === undefined) throw new Error(`the history has no cut ${index}`);
  const below = history.changes.filter((change) => change.seq <= cut.cut);
  const ends: Record<string, number[]> = {};
  for (const { topic, partition, offset } of below) {
    const offsets = (ends[topic] ??= [0, 0, 0]);
    offsets[partition] = offset + 1;
  }
  const newest = below.at(-1)?.committedAtUs;
  const committedAtUs = newest === undefined || newest === null ? null : String(newest);
  return { cut: cut.cut, lsn: formatLsn(cut.lsn), committedAtUs, publish, full: true, ends };
}

/** The changes from the checkpoint to the cut as one batch. */
export function oneBatch(history: History, before: Checkpoint, cut: AppliedCut): SinkBatch {
  const watermark = watermarkAt(history, cut);
  const changes = pending(history, before, watermark);
  const { epoch } = before;
  return makeBatch({
    cut: watermark,
    before,
    after: {
      epoch,
      applied: watermark.cut,
      watermarkOffset: cut.index + 1,
      offsets: watermark.ends,
    },
    changes,
    deadLetters: [],
  });
}

function pending(history: History, before: Checkpoint, { cut }: Watermark): readonly Change[] {
  return history.changes.filter(({ seq }) => before.applied < seq && seq <= cut);
}

/** `published`: up to where readers now see; a step of the cut may show more than the cut itself does. */
type OnCut = (cut: AppliedCut, published: PositionText) => Promise<void>;

/** Opens the sink and gives it what is above its checkpoint, cut by cut; the checkpoint reached. */
export async function applyCuts(
  sink: Sink,
  history: History,
  ...[cuts, onCut]: readonly [readonly AppliedCut[], OnCut?]
): Promise<Checkpoint> {
  let checkpoint = await sink.open();
  let published = checkpoint.applied;
  const evolved = new Set<TableVersion>();
  const evolve = async (versions: Iterable<TableVersion>) => {
    for (const version of versions) {
      if (!evolved.has(version)) await sink.evolve(version);
      evolved.add(version);
    }
  };
  for (const cut of cuts) {
    const watermark = watermarkAt(history, cut);
    if (watermark.cut <= checkpoint.applied) continue;
    for (const step of splitAtVersions(pending(history, checkpoint, watermark), watermark)) {
      const isLast = step.cut === watermark;
      await evolve(step.changes.map((change) => change.version));
      const { epoch, watermarkOffset, offsets } = checkpoint;
      const after: Checkpoint = {
        epoch,
        applied: step.cut.cut,
        watermarkOffset: isLast ? cut.index + 1 : watermarkOffset,
        offsets: isLast ? watermark.ends : offsets,
      };
      const { changes } = step;
      const input = { cut: step.cut, before: checkpoint, after, changes, deadLetters: [] };
      await sink.apply(makeBatch(input));
      checkpoint = after;
      if (step.cut.publish) published = step.cut.cut;
    }
    // Tables without a row are in the lake as well.
    await evolve(history.cuts[cut.index]?.versions ?? []);
    await onCut?.(cut, published);
  }
  return checkpoint;
}

/** The last transaction all of whose changes are at or below `applied`; −1 before the first. */
function lastWithin(history: History, applied: PositionText): number {
  const next = history.changes.find(({ seq }) => applied < seq);
  if (next === undefined) return history.cuts.length - 1;
  return history.cuts.findLastIndex(({ cut }) => cut < next.seq);
}

/** The reader's rows are the source's rows right after transaction `index`; none for −1. */
export async function expectRowsAt(
  harness: SinkHarness,
  history: History,
  index: number,
): Promise<void> {
  const cut = history.cuts[Math.max(0, index)];
  for (const { table } of cut?.versions ?? []) {
    const rows = await harness.rows(table);
    const wanted = index < 0 ? [] : (cut?.rows.get(table.name) ?? []);
    expect(sortedIdentities(rows.map((row) => row.values))).toEqual(sortedIdentities(wanted));
  }
}

/**
 * The reader's rows are the source's at a cut, everything at or below which is visible. A change of shape
 * that no visible row has followed may not show yet, and may be lost with the process: then the table is
 * compared in the newest shape that the lake has.
 */
export async function expectVisibleRows(
  harness: SinkHarness,
  history: History,
  applied: PositionText,
): Promise<void> {
  const index = lastWithin(history, applied);
  const cut = history.cuts[Math.max(0, index)];
  for (const { table, topic } of cut?.versions ?? []) {
    const versions = [
      ...history.cuts.flatMap((one) => one.versions),
      ...history.changes.map(({ version }) => version),
    ];
    const shapes = versions
      .filter((version) => version.topic === topic)
      .toSorted((a, b) => (a.from < b.from ? -1 : 1))
      .map((version) => version.table);
    const { rows, shape } = await readInShape(harness, [table, ...shapes.toReversed()]);
    const names = table.columns.map((column) => column.name);
    const wanted = index < 0 ? [] : (cut?.rows.get(table.name) ?? []);
    const projected = wanted.map((row) =>
      shape.columns.map((column) => row[names.indexOf(column.name)] ?? null),
    );
    expect(sortedIdentities(rows.map((row) => row.values))).toEqual(sortedIdentities(projected));
  }
}

/** The rows in the first of these shapes that the lake has. */
async function readInShape(harness: SinkHarness, shapes: readonly TableSchema[]) {
  let lacking: unknown;
  for (const shape of new Set(shapes)) {
    try {
      return { rows: await harness.rows(shape), shape };
    } catch (error) {
      if (!String(error).includes('has no column')) throw error;
      lacking = error;
    }
  }
  throw lacking;
}

/** How a change must look in `T__changes` for a reader who knows the table as it is now. */
export function expectedChange(change: Change, table: TableSchema): Omit<LakeChange, 'batchId'> {
  const { seq, lsn, xid, committedAtUs, capturedAtUs, topic, partition, offset, op } = change;
  const unchanged = op === 'd' || op === 't' ? [] : change.unchanged;
  const names = change.version.table.columns.map((column) => column.name);
  const image: RowImage = op === 't' ? [] : op === 'd' ? change.before : change.after;
  return {
    values: table.columns.map((column) => image[names.indexOf(column.name)] ?? null),
    op,
    seq,
    lsn,
    xid,
    committedAtUs,
    capturedAtUs,
    topic,
    partition,
    offset,
    schemaId: change.version.valueSchemaId,
    unchanged: unchanged.map((index) => names[index] ?? ''),
  };
}
