import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Log, OffsetRange, ReadLimits, StoredRecord } from '../../log/log.ts';
import { controlTopics, headerSeq } from '../../schemas/control.ts';
import { formatPosition } from '../../schemas/position.ts';
import { followTopic } from './follow-topic.ts';

const prefix = 'app';
const topic = 'app.public.orders';
const { watermarks } = controlTopics(prefix);

/** A log in memory that grows by a watermark's worth whenever a reader waits for the next one. */
class GrowingLog implements Pick<Log, 'read' | 'ranges'> {
  readonly #partitions: readonly StoredRecord[][];
  readonly #growth: (() => void)[];
  readonly #watermarks: StoredRecord[] = [];
  readonly #onEnd: () => void;

  constructor(partitionCount: number, onEnd: () => void) {
    this.#partitions = Array.from({ length: partitionCount }, () => []);
    this.#growth = [];
    this.#onEnd = onEnd;
  }

  append(partition: number, number: number): void {
    const seq = formatPosition({ generation: 1, commitLsn: BigInt(number), ordinal: 1, part: 0 });
    const records = this.#partitions[partition] ?? [];
    records.push({
      offset: records.length,
      key: null,
      value: Buffer.from(String(number)),
      headers: [[headerSeq, Buffer.from(seq)]],
      timestampMs: 0,
    });
  }

  later(grow: () => void): void {
    this.#growth.push(grow);
  }

  async ranges(): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    const rangeOf = (records: readonly StoredRecord[]) => ({ start: 0, end: records.length });
    return new Map([
      [topic, this.#partitions.map(rangeOf)],
      [watermarks, [rangeOf(this.#watermarks)]],
    ]);
  }

  async read(
    from: { topic: string; partition: number; offset: number },
    limits: ReadLimits,
  ): Promise<readonly StoredRecord[]> {
    if (from.topic === watermarks && limits.waitMs > 0 && from.offset >= this.#watermarks.length)
      this.#grow();
    const records =
      from.topic === watermarks ? this.#watermarks : (this.#partitions[from.partition] ?? []);
    // One at a time: every boundary between two reads is met.
    return records.slice(from.offset, from.offset + 1);
  }

  #grow(): void {
    const grow = this.#growth.shift();
    if (grow === undefined) return this.#onEnd();
    grow();
    const ends = { [topic]: this.#partitions.map((records) => records.length) };
    this.#watermarks.push({
      offset: this.#watermarks.length,
      key: null,
      value: Buffer.from(JSON.stringify({ ends })),
      headers: [],
      timestampMs: 0,
    });
  }
}

async function follow(
  steps: readonly (readonly number[])[],
  fromStart: boolean,
): Promise<number[]> {
  const controller = new AbortController();
  const log = new GrowingLog(3, () => controller.abort());
  let number = 0;
  const append = (partitions: readonly number[]) => {
    for (const partition of partitions) log.append(partition, (number += 1));
  };
  append(steps[0] ?? []);
  for (const step of steps.slice(1)) log.later(() => append(step));
  const seen: number[] = [];
  const options = {
    log: log as unknown as Log,
    prefix,
    topic,
    fromStart,
    signal: controller.signal,
  };
  for await (const records of followTopic(options)) {
    seen.push(...records.map(({ record }) => Number(record.value?.toString())));
  }
  return seen;
}

const partitionsOfStep = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 12 });
const countTo = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index + 1);

test('changes come once each and in commit order, whatever partitions they are on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(partitionsOfStep, { minLength: 1, maxLength: 6 }), async (steps) => {
      const total = steps.reduce((sum, step) => sum + step.length, 0);
      expect(await follow(steps, true)).toEqual(countTo(0, total));
      expect(await follow(steps, false)).toEqual(countTo(steps[0]?.length ?? 0, total));
    }),
    { numRuns: 60 },
  );
});
