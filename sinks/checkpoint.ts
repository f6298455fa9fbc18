import { assert } from '../runtime/assert.ts';
import { type PositionText, positionZero } from '../schemas/position.ts';
import type { Checkpoint } from './sink.ts';

/** topic → next offset of each partition. */
export type Offsets = Readonly<Record<string, readonly number[]>>;

/** Where a lake that has nothing yet begins. */
export function firstCheckpoint(epoch: number): Checkpoint {
  return { epoch, applied: positionZero, watermarkOffset: 0, offsets: {} };
}

/** Offsets after those of `later`, which may leave topics and trailing partitions out. None falls. */
export function mergeOffsets(before: Offsets, later: Offsets): Offsets {
  const merged: Record<string, readonly number[]> = { ...before };
  for (const [topic, ends] of Object.entries(later)) {
    const known = before[topic] ?? [];
    const length = Math.max(known.length, ends.length);
    merged[topic] = Array.from({ length }, (_, partition) =>
      Math.max(known[partition] ?? 0, ends[partition] ?? 0),
    );
  }
  return merged;
}

/** The checkpoint after a batch or step. It never goes back. */
export function advanceCheckpoint(
  before: Checkpoint,
  to: {
    readonly applied: PositionText;
    readonly watermarkOffset: number;
    readonly offsets: Offsets;
  },
): Checkpoint {
  assert(before.applied <= to.applied, 'the applied position never falls');
  assert(before.watermarkOffset <= to.watermarkOffset, 'watermarks are read in order');
  return { epoch: before.epoch, ...to };
}
