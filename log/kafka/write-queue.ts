import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { PartitionBatch, PartitionEnd, PartitionOffset } from '../log.ts';
import type { KafkaProducer } from './client.ts';
import {
  batchOverheadBytes,
  planRequests,
  recordBytes,
  type RequestLimits,
} from './plan-requests.ts';

interface Waiting {
  readonly batches: readonly PartitionBatch[];
  readonly settled: PromiseWithResolvers<readonly PartitionEnd[]>;
}

/** Appends that are sent together while a request is under way. */
const appendsTogetherMax = 256;

/**
 * The appends of one handle, in the order of the calls. One request is under way at a time, so nothing
 * can be accepted behind a batch that was lost; appends that come meanwhile go together into the next
 * one. The first failure ends the handle: what was not acknowledged may or may not be in the log, and
 * only who reads its end can tell.
 */
export class WriteQueue {
  readonly #producer: KafkaProducer;
  readonly #limits: RequestLimits;
  #waiting: Waiting[] = [];
  #isSending = false;
  #failure: unknown;
  #idle = Promise.withResolvers<void>();

  constructor(producer: KafkaProducer, limits: RequestLimits) {
    this.#producer = producer;
    this.#limits = limits;
    this.#idle.resolve();
  }

  append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    const settled = Promise.withResolvers<readonly PartitionEnd[]>();
    this.#failure ??= this.#tooLarge(batches);
    if (this.#failure !== undefined) {
      settled.reject(this.#failure);
      return settled.promise;
    }
    this.#waiting.push({ batches, settled });
    if (!this.#isSending) void this.#sendAll();
    return settled.promise;
  }

  /** Refuses what comes from now on, and resolves when nothing is under way. */
  async close(reason: unknown): Promise<void> {
    this.#failure ??= reason;
    await this.#idle.promise;
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    this.#idle = Promise.withResolvers<void>();
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0, appendsTogetherMax);
      await this.#send(together).catch((error: unknown) => this.#fail(error, together));
    }
    this.#isSending = false;
    this.#idle.resolve();
  }

  async #send(together: readonly Waiting[]): Promise<void> {
    const ends = new EndCounter();
    const requests = planRequests(
      together.flatMap(({ batches }) => batches),
      this.#limits,
    );
    for (const request of requests) {
      for (const place of await this.#producer.produce(request)) {
        const batch = request.find(
          ({ topic, partition }) => topic === place.topic && partition === place.partition,
        );
        ends.add(place, batch?.records.length ?? 0);
      }
    }
    for (const { batches, settled } of together) settled.resolve(ends.take(batches));
  }

  #fail(error: unknown, together: readonly Waiting[]): void {
    this.#failure ??= error;
    const lost = [...together, ...this.#waiting];
    this.#waiting = [];
    for (const { settled } of lost) settled.reject(this.#failure);
  }

  #tooLarge(batches: readonly PartitionBatch[]): PipelineError | undefined {
    const bytesMax = this.#limits.batchBytesMax - batchOverheadBytes;
    for (const { topic, partition, records } of batches) {
      const bytes = Math.max(0, ...records.map(recordBytes));
      if (bytes > bytesMax) return tooLargeError({ topic, partition }, bytes, bytesMax);
    }
    return undefined;
  }
}

interface Written {
  offset: number;
  records: number;
}

/** What a send wrote, batch by batch → the end of each append's part. */
class EndCounter {
  readonly #written = new Map<string, Written[]>();

  add({ topic, partition, offset }: PartitionOffset, records: number): void {
    const key = `${topic}/${partition}`;
    const written = this.#written.get(key) ?? [];
    this.#written.set(key, written);
    written.push({ offset, records });
  }

  take(batches: readonly PartitionBatch[]): readonly PartitionEnd[] {
    const ends = new Map<string, PartitionEnd>();
    for (const { topic, partition, records } of batches) {
      const key = `${topic}/${partition}`;
      const end = this.#advance(key, records.length);
      if (end !== undefined) ends.set(key, { topic, partition, end });
    }
    return [...ends.values()];
  }

  /** Another writer may have come between two batches, so each has an offset of its own. */
  #advance(key: string, records: number): number | undefined {
    const written = this.#written.get(key) ?? [];
    let left = records;
    let end: number | undefined;
    while (left > 0) {
      const [first] = written;
      assert(first !== undefined, 'every record that was sent has an offset');
      const count = Math.min(left, first.records);
      first.offset += count;
      first.records -= count;
      if (first.records === 0) written.shift();
      end = first.offset;
      left -= count;
    }
    return end;
  }
}

function tooLargeError(
  place: { readonly topic: string; readonly partition: number },
  bytes: number,
  bytesMax: number,
): PipelineError {
  return new PipelineError(
    'log-record-too-large',
    `a record for topic ${place.topic}, partition ${place.partition}, takes up to ${bytes} bytes; log.topics.message_size allows ${bytesMax}`,
    { context: { ...place, bytes, bytesMax } },
  );
}
