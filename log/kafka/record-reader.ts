import { PipelineError } from '../../runtime/errors.ts';
import type { OffsetRange, PartitionOffset, ReadLimits, StoredRecord } from '../log.ts';
import type { TopicPartition } from '../log.ts';
import type { BrokerAddress, FetchedRecords, PartitionRange, TopicMetadata } from './client.ts';
import type { Cluster } from './cluster.ts';
import { answeredError, errorCodes, isMoved } from './errors.ts';
import { addressText } from './errors.ts';
import { FetchLanes } from './fetch-lanes.ts';

/** No fetch asks for more at once, whatever the caller allows. */
const fetchBytesMax = 32 << 20;
/** Between two looks for a topic that does not exist yet. */
const topicPollMs = 100;
/** Between two tries while a partition moves to another broker. */
const movedPollMs = 100;
/** How far back the search for the last record begins, and how it grows. */
const lastStepFirst = 1;
const lastStepGrowth = 16;

export interface RecordReaderOptions {
  readonly cluster: Cluster;
  readonly requestTimeoutMs: number;
  /** How long a partition may take to move to another broker. */
  readonly electionMs: number;
  /** Aborts when the log is closed. */
  readonly closed: AbortSignal;
}

/** Reads partitions by offset. What fails before an answer was given is tried again. */
export class RecordReader {
  readonly #options: RecordReaderOptions;
  readonly #lanes: FetchLanes;

  constructor(options: RecordReaderOptions) {
    this.#options = options;
    this.#lanes = new FetchLanes(options.cluster, options.requestTimeoutMs);
  }

  async read(from: PartitionOffset, limits: ReadLimits): Promise<readonly StoredRecord[]> {
    const { waitMs, signal, allowTruncated = false } = limits;
    const bytesMax = Math.max(1, Math.min(limits.bytesMax, fetchBytesMax));
    const deadline = performance.now() + waitMs;
    let { offset } = from;
    for (;;) {
      if (this.#isEnded(signal)) return [];
      const leftMs = Math.max(0, deadline - performance.now());
      const place = { ...from, offset, bytesMax, waitMs: leftMs };
      const answer = await this.#unlessEnded(this.#fetch(place), signal);
      if (answer === undefined) return [];
      const { errorCode, nextOffset, records } = answer;
      if (errorCode === errorCodes.offsetOutOfRange) {
        offset = await this.#startFor(from, allowTruncated);
        continue;
      }
      const found = records.filter((record) => record.offset >= offset);
      if (found.length > 0) return found;
      if (nextOffset > offset) {
        // Nothing but what compaction left of batches: look behind it, however little time there is. A
        // fetch ends with its bytes or a segment, so that there may be records behind that.
        offset = nextOffset;
        continue;
      }
      if (deadline <= performance.now()) return [];
      if (errorCode === errorCodes.unknownTopic) {
        await this.#pause(Math.min(topicPollMs, leftMs), signal);
      }
    }
  }

  /**
   * Compaction may have taken the last records, so that there is none just below the end: the search
   * goes back until it meets one.
   */
  async lastRecord(place: TopicPartition): Promise<StoredRecord | undefined> {
    const [range] = await this.ranges([place]);
    if (range === undefined) return undefined;
    const { start, end } = range;
    let step = lastStepFirst;
    for (let from = end; from > start; step *= lastStepGrowth) {
      const until = from;
      from = Math.max(start, end - step);
      const last = await this.#lastBetween(place, from, until);
      if (last !== undefined) return last;
    }
    return undefined;
  }

  /** Ranges of partitions; those that do not exist are left out. Tries again while they move. */
  async ranges(places: readonly TopicPartition[]): Promise<readonly PartitionRange[]> {
    const deadline = performance.now() + this.#options.electionMs;
    for (;;) {
      const ranges = await this.#rangesOnce(places);
      const moved = ranges.find(({ errorCode }) => isMoved(errorCode));
      const failed = ranges.find(
        ({ errorCode }) => errorCode !== errorCodes.none && errorCode !== errorCodes.unknownTopic,
      );
      if (failed === undefined) return ranges.filter(({ errorCode }) => errorCode === 0);
      if (moved === undefined || performance.now() > deadline || this.#isEnded()) {
        throw answeredError(failed.errorCode, `asking for the end of ${textOf(failed)}`);
      }
      await this.#pause(movedPollMs);
    }
  }

  /** Ranges of whole topics, by partition. */
  async topicRanges(
    topics: readonly TopicMetadata[],
  ): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    const places = topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition }) => ({ topic, partition })),
    );
    const found = new Map<string, OffsetRange[]>();
    for (const { topic, partition, start, end } of await this.ranges(places)) {
      const list = found.get(topic) ?? [];
      list[partition] = { start, end };
      found.set(topic, list);
    }
    return found;
  }

  async #fetch(request: PartitionOffset & { bytesMax: number; waitMs: number }) {
    const deadline = performance.now() + this.#options.electionMs;
    for (;;) {
      const leader = await this.#options.cluster.leader(request);
      if (leader === undefined) return noSuchPartition;
      const answer = await this.#lanes.fetch(leader, request);
      const { errorCode } = answer;
      if (errorCode === errorCodes.none || errorCode === errorCodes.offsetOutOfRange) return answer;
      this.#options.cluster.forget(request.topic);
      if (errorCode === errorCodes.unknownTopic) return noSuchPartition;
      if (!isMoved(errorCode) || performance.now() > deadline || this.#isEnded()) {
        throw answeredError(errorCode, `reading ${textOf(request)}`);
      }
      await this.#pause(movedPollMs);
    }
  }

  /** Where reading goes on when the offset is outside what the partition holds. */
  async #startFor(from: PartitionOffset, allowTruncated: boolean): Promise<number> {
    const [range] = await this.ranges([from]);
    const { start, end } = range ?? { start: 0, end: 0 };
    if (from.offset > end) {
      throw new PipelineError(
        'log-corrupt',
        `${textOf(from)} ends at offset ${end}, before offset ${from.offset} that was read up to`,
        { hint: 'this is another log than the one that was read, or the topic was made anew' },
      );
    }
    if (allowTruncated || from.offset >= start) return Math.max(start, from.offset);
    throw new PipelineError(
      'log-corrupt',
      `${textOf(from)} begins at offset ${start}: what was between ${from.offset} and there is gone`,
      { hint: 'retention dropped records that were still wanted: raise log.retention' },
    );
  }

  async #lastBetween(place: TopicPartition, from: number, until: number) {
    let last: StoredRecord | undefined;
    for (let offset = from; offset < until;) {
      const request = { ...place, offset, bytesMax: fetchBytesMax, waitMs: 0 };
      const { records, nextOffset } = await this.#fetch(request);
      const found = records.filter((record) => record.offset >= offset).at(-1);
      if (found !== undefined) last = found;
      if (nextOffset <= offset) break;
      offset = nextOffset;
    }
    return last;
  }

  async #rangesOnce(places: readonly TopicPartition[]): Promise<readonly PartitionRange[]> {
    const { cluster } = this.#options;
    const led: { readonly place: TopicPartition; readonly leader: BrokerAddress }[] = [];
    for (const place of places) {
      const leader = await cluster.leader(place);
      if (leader !== undefined) led.push({ place, leader });
    }
    const byLeader = [...Map.groupBy(led, ({ leader }) => addressText(leader)).values()];
    const answers = await Promise.all(
      byLeader.map(async (list) => {
        const [first] = list;
        if (first === undefined) return [];
        const wanted = list.map(({ place }) => place);
        return cluster.use(first.leader, (link) => link.ranges(wanted));
      }),
    );
    const ranges = answers.flat();
    for (const { topic, errorCode } of ranges) if (errorCode !== 0) cluster.forget(topic);
    return ranges;
  }

  #isEnded(signal?: AbortSignal): boolean {
    return this.#options.closed.aborted || (signal?.aborted ?? false);
  }

  /** Undefined once the log is closed or the signal aborts; the work goes on, but nobody waits for it. */
  async #unlessEnded<T>(work: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    const signals = [this.#options.closed, ...(signal === undefined ? [] : [signal])];
    const ended = Promise.withResolvers<undefined>();
    const end = () => ended.resolve(undefined);
    for (const one of signals) one.addEventListener('abort', end, { once: true });
    if (signals.some(({ aborted }) => aborted)) end();
    work.catch(() => undefined);
    try {
      return await Promise.race([ended.promise, work]);
    } finally {
      for (const one of signals) one.removeEventListener('abort', end);
    }
  }

  async #pause(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await this.#unlessEnded(promise, signal);
    clearTimeout(timer);
  }
}

const noSuchPartition: FetchedRecords = {
  errorCode: errorCodes.unknownTopic,
  nextOffset: 0,
  records: [],
};

const textOf = ({ topic, partition }: TopicPartition): string =>
  `partition ${partition} of topic ${topic}`;
