import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import type { LogRecord, PartitionBatch, PartitionEnd, TopicPartition } from '../log.ts';
import type { BrokerAddress, EncodedBatch, ProducedBatch, ProducerIdentity } from './client.ts';
import type { Cluster } from './cluster.ts';
import { addressText, answeredError, errorCodes, isStarting, tooLargeError } from './errors.ts';
import {
  batchHeadBytes,
  BlockPool,
  HeaderNames,
  RecordBatch,
  recordBytesMax,
} from './record-batch.ts';

/** Records of one partition go in batches near this size, larger only for a single record. */
const batchBytesTarget = 1 << 20;
/** All batches of one request; brokers take 100 MiB unless told otherwise (`socket.request.max.bytes`). */
const requestBytesMax = 4 << 20;
/** Sequence numbers are 31 bits and begin again at 0. */
const sequenceLimit = 2 ** 31;
/** Between two questions to a broker that is starting. */
const startingPollMs = 100;
/** The broker gives up on slow replicas before we give up on the broker, so that we hear why. */
const replicasWaitShare = 0.8;

export interface ProduceQueueOptions {
  readonly cluster: Cluster;
  /** `max.message.bytes` of the topics. */
  readonly messageBytesMax: number;
  readonly requestTimeoutMs: number;
}

interface PendingAppend {
  readonly done: PromiseWithResolvers<readonly PartitionEnd[]>;
  readonly ends: Map<string, PartitionEnd>;
  piecesLeft: number;
}

/** Records of one append for one partition that fit into one record batch. */
interface Piece extends TopicPartition {
  readonly records: readonly LogRecord[];
  readonly bytes: number;
}

/** Pieces that go as one record batch. */
interface Group extends TopicPartition {
  readonly batch: RecordBatch;
  readonly shares: { readonly append: PendingAppend; readonly count: number }[];
  bytes: number;
}

/** What goes together, at most one group a partition. */
interface Load {
  readonly groups: Map<string, Group>;
  bytes: number;
}

interface PartitionState {
  nextSequence: number;
  /** Where the next record must land; undefined before the first. */
  end: number | undefined;
}

/**
 * Appends in the order of the calls. One request at a time is under way to each broker, and appends that
 * come meanwhile share the next one, so nothing can overtake anything. No request is ever sent twice:
 * after the first failure the queue takes nothing more, because whether the broker has those records can
 * only be learned by reading. Sequence numbers let the broker refuse what would leave a hole.
 *
 * Records are encoded by the call, and held as bytes until they are durable; how many, the caller decides
 * by waiting.
 */
export class ProduceQueue {
  readonly #options: ProduceQueueOptions;
  /** Bytes of records that one batch takes. */
  readonly #batchRoom: number;
  readonly #partitions = new Map<string, PartitionState>();
  readonly #pool = new BlockPool();
  readonly #names = new HeaderNames();
  /** In order; the last one still takes what fits. */
  #queue: Load[] = [];
  /** Under way: it fails with the queue. */
  #sent: Load | null = null;
  #identity: Promise<ProducerIdentity> | null = null;
  #running: Promise<void> | null = null;
  #failure: PipelineError | null = null;

  constructor(options: ProduceQueueOptions) {
    this.#options = options;
    this.#batchRoom = Math.min(batchBytesTarget, options.messageBytesMax) - batchHeadBytes;
  }

  /** Whether nothing was appended yet. */
  get isFresh(): boolean {
    return this.#identity === null;
  }

  append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const append: PendingAppend = {
      done: Promise.withResolvers(),
      ends: new Map(),
      piecesLeft: 0,
    };
    try {
      const pieces = this.#cut(batches);
      append.piecesLeft = pieces.length;
      if (pieces.length === 0) append.done.resolve([]);
      for (const piece of pieces) this.#enqueue(piece, append);
    } catch (error) {
      this.#fail(error);
      append.done.reject(error);
    }
    this.#running ??= this.#run();
    return append.done.promise;
  }

  /** The end of a partition as it was read: what we append must land there. */
  expect({ topic, partition }: TopicPartition, end: number): void {
    this.#stateOf(keyOf({ topic, partition })).end = end;
  }

  /** Nothing more is taken; resolves when what was appended is durable or has failed. */
  async close(reason: PipelineError): Promise<void> {
    const running = this.#running;
    await running;
    this.#failure ??= reason;
  }

  /**
   * Pieces in an order in which each partition keeps its own: the first of every partition, then the
   * second, so that those of different partitions share a request.
   */
  #cut(batches: readonly PartitionBatch[]): Piece[] {
    const ranked: { readonly rank: number; readonly piece: Piece }[] = [];
    const ranks = new Map<string, number>();
    for (const batch of batches) {
      for (const { records, bytes } of this.#split(batch)) {
        const { topic, partition } = batch;
        const rank = ranks.get(keyOf(batch)) ?? 0;
        ranks.set(keyOf(batch), rank + 1);
        ranked.push({ rank, piece: { topic, partition, records, bytes } });
      }
    }
    return ranked.toSorted((left, right) => left.rank - right.rank).map(({ piece }) => piece);
  }

  #split({ topic, records }: PartitionBatch) {
    const { messageBytesMax } = this.#options;
    const found: { readonly records: readonly LogRecord[]; readonly bytes: number }[] = [];
    let [first, bytes] = [0, 0];
    for (const [index, record] of records.entries()) {
      const size = recordBytesMax(record, this.#names);
      if (size + batchHeadBytes > messageBytesMax) {
        throw tooLargeError(topic, size + batchHeadBytes, messageBytesMax);
      }
      if (bytes > 0 && bytes + size > this.#batchRoom) {
        found.push({ records: records.slice(first, index), bytes });
        [first, bytes] = [index, 0];
      }
      bytes += size;
    }
    if (bytes > 0) found.push({ records: first === 0 ? records : records.slice(first), bytes });
    return found;
  }

  /** What does not fit begins the next request: what comes after it must not overtake it. */
  #enqueue(piece: Piece, append: PendingAppend): void {
    const { topic, partition, records, bytes } = piece;
    const key = keyOf(piece);
    let load = this.#queue.at(-1);
    if (load === undefined || !this.#fits(load, key, bytes)) {
      load = { groups: new Map(), bytes: 0 };
      this.#queue.push(load);
    }
    let group = load.groups.get(key);
    if (group === undefined) {
      group = {
        topic,
        partition,
        batch: new RecordBatch(this.#pool, this.#names),
        shares: [],
        bytes: 0,
      };
      load.groups.set(key, group);
    }
    for (const record of records) group.batch.add(record);
    group.shares.push({ append, count: records.length });
    group.bytes += bytes;
    load.bytes += bytes;
  }

  #fits(load: Load, key: string, bytes: number): boolean {
    const batchBytes = load.groups.get(key)?.bytes ?? 0;
    if (batchBytes > 0 && batchBytes + bytes > this.#batchRoom) return false;
    return load.bytes === 0 || load.bytes + bytes <= requestBytesMax;
  }

  async #run(): Promise<void> {
    try {
      // Appends of the same turn of the event loop share a request.
      await Promise.resolve();
      for (;;) {
        const load = this.#failure === null ? this.#queue.shift() : undefined;
        if (load === undefined) break;
        this.#sent = load;
        await this.#send([...load.groups.values()]);
        this.#sent = null;
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = null;
    }
  }

  async #send(groups: readonly Group[]): Promise<void> {
    // All leaders first: a partition that does not exist is found before anything is sent.
    const placed = await Promise.all(
      groups.map(async (group) => ({ group, leader: await this.#leaderOf(group) })),
    );
    const [first] = placed;
    if (first === undefined) return;
    this.#identity ??= this.#identify(first.leader);
    const identity = await this.#identity;
    const requests = [...Map.groupBy(placed, ({ leader }) => addressText(leader)).values()];
    const answers = await Promise.allSettled(requests.map((list) => this.#produce(identity, list)));
    for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    // Answered, so no connection still reads them.
    for (const { batch } of groups) batch.release();
  }

  /** Asks until the broker has one to give; nothing has been sent yet, so this may be repeated. */
  async #identify(broker: BrokerAddress): Promise<ProducerIdentity> {
    const { cluster, requestTimeoutMs } = this.#options;
    const deadline = performance.now() + requestTimeoutMs;
    for (;;) {
      const identity = await cluster.use(broker, (link) => link.producerIdentity());
      if (identity.errorCode === errorCodes.none) return identity;
      if (!isStarting(identity.errorCode) || performance.now() > deadline) {
        throw answeredError(identity.errorCode, 'asking for a producer id');
      }
      await pause(startingPollMs);
    }
  }

  async #produce(
    identity: ProducerIdentity,
    list: readonly { readonly group: Group; readonly leader: BrokerAddress }[],
  ): Promise<void> {
    const { cluster, requestTimeoutMs } = this.#options;
    const [first] = list;
    if (first === undefined) return;
    const groups = new Map(list.map(({ group }) => [keyOf(group), group]));
    const produced = await cluster.use(first.leader, (link) =>
      link.produce({
        batches: [...groups.values()].map((group) => this.#seal(group, identity)),
        timeoutMs: Math.round(requestTimeoutMs * replicasWaitShare),
      }),
    );
    // What succeeded counts, whatever else failed: it is durable.
    const failed: ProducedBatch[] = [];
    for (const batch of produced) {
      const group = groups.get(keyOf(batch));
      if (batch.errorCode === errorCodes.none && group !== undefined) this.#settle(group, batch);
      else failed.push(batch);
    }
    if (failed[0] !== undefined) {
      throw await this.#refusal(failed[0], groups.get(keyOf(failed[0]))?.bytes ?? 0);
    }
  }

  #seal({ topic, partition, batch }: Group, identity: ProducerIdentity): EncodedBatch {
    const state = this.#stateOf(keyOf({ topic, partition }));
    const firstSequence = state.nextSequence;
    state.nextSequence = (firstSequence + batch.count) % sequenceLimit;
    return { topic, partition, bytes: batch.seal(identity, firstSequence) };
  }

  #settle(group: Group, { topic, partition, baseOffset }: ProducedBatch): void {
    const state = this.#stateOf(keyOf(group));
    if (state.end !== undefined && state.end !== baseOffset) {
      throw new PipelineError(
        'log-conflict',
        `another writer moved partition ${partition} of topic ${topic} from offset ${state.end} to ${baseOffset}`,
        { context: { topic, partition, expected: state.end, found: baseOffset } },
      );
    }
    let end = baseOffset;
    for (const { count, append } of group.shares) {
      end += count;
      append.ends.set(keyOf(group), { topic, partition, end });
      append.piecesLeft -= 1;
      if (append.piecesLeft === 0) append.done.resolve([...append.ends.values()]);
    }
    state.end = end;
  }

  async #leaderOf(place: TopicPartition): Promise<BrokerAddress> {
    const leader = await this.#options.cluster.leader(place);
    if (leader !== undefined) return leader;
    const { topic, partition } = place;
    if (this.#partitions.get(keyOf(place))?.end !== undefined) {
      throw answeredError(errorCodes.unknownTopic, doing(place));
    }
    throw new PipelineError(
      'log-conflict',
      `the log has no partition ${partition} of topic ${topic}`,
      { hint: 'create the topic before its first append' },
    );
  }

  async #refusal(batch: ProducedBatch, bytes: number): Promise<PipelineError> {
    const { cluster, messageBytesMax } = this.#options;
    cluster.forget(batch.topic);
    if (batch.errorCode === errorCodes.messageTooLarge) {
      const limits = `the batch has up to ${bytes + batchHeadBytes} bytes, log.topics.message_size is ${messageBytesMax}, but max.message.bytes of the topic is less`;
      return answeredError(batch.errorCode, doing(batch), limits);
    }
    // A broker that has just lost a partition may not know it: only the cluster knows what was deleted.
    if (batch.errorCode === errorCodes.unknownTopic) {
      const { topics } = await cluster.metadata([batch.topic]);
      if (topics.length > 0) return answeredError(errorCodes.notLeader, doing(batch));
    }
    return answeredError(batch.errorCode, doing(batch));
  }

  #stateOf(key: string): PartitionState {
    const known = this.#partitions.get(key);
    if (known !== undefined) return known;
    const state: PartitionState = { nextSequence: 0, end: undefined };
    this.#partitions.set(key, state);
    return state;
  }

  #fail(error: unknown): void {
    this.#failure ??=
      error instanceof PipelineError
        ? error
        : new PipelineError('log-unreachable', 'appending failed', { cause: error });
    for (const { groups } of [this.#sent, ...this.#queue].filter((load) => load !== null)) {
      for (const { shares } of groups.values()) {
        for (const { append } of shares) append.done.reject(this.#failure);
      }
    }
    this.#sent = null;
    this.#queue = [];
  }
}

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

const doing = ({ topic, partition }: TopicPartition): string =>
  `writing to partition ${partition} of topic ${topic}`;
