import { createHash } from 'node:crypto';
import { assert } from '../runtime/assert.ts';
import type { Change, DeadLetter } from '../schemas/change.ts';
import type { Watermark } from '../schemas/control.ts';
import { formatLsn } from '../schemas/lsn.ts';
import { parsePosition, type PositionText } from '../schemas/position.ts';
import type { TableVersion } from '../schemas/table-schema.ts';
import { foldChanges } from './fold.ts';
import type { Checkpoint, SinkBatch, TableBatch } from './sink.ts';

export interface BatchInput {
  readonly cut: Watermark;
  /** The checkpoint that the batch starts from, and the one that it ends at. */
  readonly before: Checkpoint;
  readonly after: Checkpoint;
  /** In rising order of `seq`; of each table one version. */
  readonly changes: readonly Change[];
  readonly deadLetters: readonly DeadLetter[];
}

/** What a sink is given: the changes by table, each table's folded. */
export function makeBatch(input: BatchInput): SinkBatch {
  const { cut, before, after, changes, deadLetters } = input;
  return {
    id: batchId(before, after),
    cut,
    checkpoint: after,
    tables: [...groupByTable(changes)].map(([version, ofTable]): TableBatch => {
      return { version, changes: ofTable, fold: foldChanges(version.table, ofTable) };
    }),
    deadLetters,
  };
}

function groupByTable(changes: readonly Change[]): ReadonlyMap<TableVersion, readonly Change[]> {
  const groups = new Map<TableVersion, Change[]>();
  const topics = new Map<string, TableVersion>();
  for (const change of changes) {
    const { version, topic } = change;
    const group = groups.get(version);
    if (group !== undefined) {
      group.push(change);
      continue;
    }
    assert(!topics.has(topic), `a batch holds one version of ${topic}`);
    topics.set(topic, version);
    groups.set(version, [change]);
  }
  return groups;
}

/** The records between two checkpoints are always the same, so they name the batch. */
function batchId(before: Checkpoint, after: Checkpoint): string {
  const { applied, offsets } = after;
  const topics = Object.keys(offsets).toSorted();
  const named = [before.applied, applied, topics.map((topic) => [topic, offsets[topic]])];
  return createHash('sha256').update(JSON.stringify(named)).digest('hex').slice(0, 24);
}

/** A part of a batch that is applied by itself. */
export interface BatchStep {
  readonly cut: Watermark;
  readonly changes: readonly Change[];
}

/**
 * A batch has one version of each table, so changes that cross a schema change are applied in steps:
 * everything before the first change of the new version, then the rest. A step that ends between two
 * transactions is as consistent as the cut itself and may be published.
 */
export function splitAtVersions(changes: readonly Change[], cut: Watermark): readonly BatchStep[] {
  const steps: BatchStep[] = [];
  let versions = new Map<string, TableVersion>();
  let start = 0;
  for (const [index, change] of changes.entries()) {
    const version = versions.get(change.topic);
    if (version !== undefined && version !== change.version) {
      const part = changes.slice(start, index);
      steps.push({ cut: cutBefore(change, part, cut), changes: part });
      versions = new Map();
      start = index;
    }
    if (version !== change.version) versions.set(change.topic, change.version);
  }
  return [...steps, { cut, changes: changes.slice(start) }];
}

/** The cut right after the last of `part`, where `next` is the change that follows. */
function cutBefore(next: Change, part: readonly Change[], within: Watermark): Watermark {
  const last = part.at(-1);
  assert(last, 'a step has changes');
  return {
    cut: wholeChange(last.seq),
    lsn: formatLsn(parsePosition(next.seq).commitLsn),
    committedAtUs: newestCommit(part),
    publish: transactionOf(last.seq) !== transactionOf(next.seq),
    full: false,
    ends: within.ends,
  };
}

/** Commit time of the newest of the changes, as watermarks write it. */
export function newestCommit(changes: readonly Change[]): string | null {
  let newest: bigint | null = null;
  for (const { committedAtUs } of changes) {
    if (committedAtUs !== null && (newest === null || newest < committedAtUs))
      newest = committedAtUs;
  }
  return newest === null ? null : String(newest);
}

/** The last position of the change that `seq` is a part of: its tombstone and insert half are below. */
export function wholeChange(seq: PositionText): PositionText {
  return `${seq.slice(0, -1)}2`;
}

/** Generation and commit LSN: the same for all changes of a transaction. */
export function transactionOf(seq: PositionText): string {
  return seq.slice(0, 21);
}
