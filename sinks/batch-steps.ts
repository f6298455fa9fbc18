import type { PositionText } from '../schemas/position.ts';
import { tableName, type TableVersion } from '../schemas/table-schema.ts';
import type { LogBatch } from './batch-source.ts';
import { type BatchStep, makeBatch, splitAtVersions } from './batch.ts';
import { advanceCheckpoint, type Offsets } from './checkpoint.ts';
import type { Checkpoint, SinkBatch } from './sink.ts';
import type { TableVersions } from './table-versions.ts';

export interface StepInput {
  readonly batch: LogBatch;
  readonly before: Checkpoint;
  readonly versions: Pick<TableVersions, 'of' | 'topics'>;
  readonly wants: (table: string) => boolean;
}

/** What to do in a sink, one after the other: evolve to the versions, apply the batch. */
export interface SinkStep {
  /** In order; some of them may be known to the lake already. */
  readonly versions: readonly TableVersion[];
  /** Null when there is nothing to tell the lake. */
  readonly batch: SinkBatch | null;
  readonly checkpoint: Checkpoint;
}

/** The steps of one batch. The last one's checkpoint is the batch's, and it alone moves the offsets. */
export function planSteps(input: StepInput): readonly SinkStep[] {
  const { batch, before } = input;
  const steps = splitAtVersions(batch.changes, batch.cut);
  let checkpoint = before;
  // A step that is published leaves nothing of what is not above it: dead letters go with their neighbours.
  const stepOf = (seq: PositionText | null): number => {
    const at = seq === null ? -1 : steps.findIndex(({ cut }) => seq <= cut.cut);
    return at < 0 ? steps.length - 1 : at;
  };
  return steps.map((step, index): SinkStep => {
    const isLast = index === steps.length - 1;
    const from = checkpoint;
    checkpoint = isLast ? finalCheckpoint(from, batch) : stepCheckpoint(from, step, input);
    const cut = { ...step.cut, cut: checkpoint.applied };
    // The cut on the way may lie below: then only duplicates were read.
    const isEmpty = isLast && step.changes.length === 0 && batch.deadLetters.length === 0;
    const isUseless = isEmpty && batch.cut.cut < from.applied;
    const isCatchUp = (step.changes[0]?.seq ?? batch.cut.cut) <= before.applied;
    return {
      versions: versionsOf(step, isLast, input),
      checkpoint,
      batch: isUseless
        ? null
        : makeBatch({
            cut: !isLast && isCatchUp ? { ...cut, publish: false } : cut,
            before: from,
            after: checkpoint,
            changes: step.changes,
            deadLetters: batch.deadLetters.filter(({ seq }) => stepOf(seq) === index),
          }),
    };
  });
}

function finalCheckpoint(from: Checkpoint, batch: LogBatch): Checkpoint {
  return advanceCheckpoint(from, {
    applied: newer(from.applied, batch.cut.cut),
    watermarkOffset: batch.watermarkOffset,
    offsets: batch.offsets,
  });
}

/**
 * Between the steps only the applied position moves: what is read again after a crash is dropped by it.
 * Topics new to the checkpoint join it now, or their records would be taken for new a second time.
 */
function stepCheckpoint(
  from: Checkpoint,
  step: BatchStep,
  { batch, before }: StepInput,
): Checkpoint {
  // A table that catches up is below the applied position, which can say nothing about it: such a
  // step is neither published nor remembered.
  const [first] = batch.changes;
  if (first !== undefined && first.seq <= before.applied) return from;
  const joining: Offsets = Object.fromEntries(
    batch.lateTopics.map((topic) => [topic, (batch.offsets[topic] ?? []).map(() => 0)]),
  );
  return advanceCheckpoint(from, {
    applied: step.cut.cut,
    watermarkOffset: from.watermarkOffset,
    offsets: { ...joining, ...from.offsets },
  });
}

const newer = (one: string, other: string): string => (one < other ? other : one);

/** Versions that the changes have and, with the last step, those of tables without a change. */
function versionsOf(step: BatchStep, isLast: boolean, input: StepInput): readonly TableVersion[] {
  const used = new Map<string, TableVersion>();
  for (const { topic, version } of step.changes) used.set(topic, version);
  if (!isLast) return [...used.values()];
  for (const topic of input.versions.topics) {
    const newest = input.versions.of(topic).findLast(({ from }) => from <= input.batch.cut.cut);
    // With changes of an older version in this step the newest has to wait for the next batch.
    if (newest === undefined || used.has(topic)) continue;
    if (input.wants(tableName(newest.table))) used.set(topic, newest);
  }
  return [...used.values()];
}
