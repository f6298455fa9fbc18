import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import type { LogRecord, PartitionBatch, PartitionEnd, TopicPartition } from '../log.ts';
import type { BrokerAddress, ProducedBatch, ProducerIdentity, SequencedBatch } from './client.ts';
import type { Cluster } from './cluster.ts';
import { addressText, answeredError, errorCodes, isStarting, tooLargeError } from './errors.ts';

/** Records of one partition go in batches near this size, larger only for a single record. */
const batchBytesTarget = 1 << 20;
/** All batches of one request; brokers take 100 MiB unless told otherwise (`socket.request.max.bytes`). */
const requestBytesMax = 8 << 20;
/** Header of a record batch, version 2. */
const batchOverheadBytes = 61;
/** Lengths, deltas and attributes of a record at most, and of each of its headers. */
const recordOverheadBytes = 36;
const headerOverheadBytes = 10;
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
  readonly append: PendingAppend;
}

/** Pieces that go as one record batch. */
interface Group extends TopicPartition {
  readonly pieces: Piece[];
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
 * Records are held by reference until they are durable; how many, the caller decides by waiting.
 */
export class ProduceQueue {
  readonly #options: ProduceQueueOptions;
  /** Bytes of records that one batch takes. */
  readonly #batchRoom: number;
  readonly #partitions = new Map<string, PartitionState>();
  #queue: Piece[] = [];
  /** Under way: they fail with the queue. */
  #sent: Piece[] = [];
  #identity: Promise<ProducerIdentity> | null = null;
  #running: Promise<void> | null = null;
  #failure: PipelineError | null = null;

  constructor(options: ProduceQueueOptions) {
    this.#options = options;
    this.#batchRoom = Math.min(batchBytesTarget, options.messageBytesMax) - batchOverheadBytes;
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
      const pieces = this.#cut(batches, append);
      append.piecesLeft = pieces.length;
      if (pieces.length === 0) append.done.resolve([]);
      this.#queue.push(...pieces);
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
  #cut(batches: readonly PartitionBatch[], append: PendingAppend): Piece[] {
    const ranked: { readonly rank: number; readonly piece: Piece }[] = [];
    const ranks = new Map<string, number>();
    for (const batch of batches) {
      for (const { records, bytes } of this.#split(batch)) {
        const { topic, partition } = batch;
        const rank = ranks.get(keyOf(batch)) ?? 0;
        ranks.set(keyOf(batch), rank + 1);
        ranked.push({ rank, piece: { topic, partition, records, bytes, append } });
      }
    }
    return ranked.toSorted((left, right) => left.rank - right.rank).map(({ piece }) => piece);
  }

  #split({ topic, records }: PartitionBatch) {
    const { messageBytesMax } = this.#options;
    const found: { readonly records: readonly LogRecord[]; readonly bytes: number }[] = [];
    let [first, bytes] = [0, 0];
    for (const [index, record] of records.entries()) {
      const size = recordBytes(record);
      if (size + batchOverheadBytes > messageBytesMax) {
        throw tooLargeError(topic, size + batchOverheadBytes, messageBytesMax);
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

  async #run(): Promise<void> {
    try {
      // Appends of the same turn of the event loop share a request.
      await Promise.resolve();
      while (this.#queue.length > 0 && this.#failure === null) await this.#send(this.#takeGroups());
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = null;
    }
  }

  #takeGroups(): readonly Group[] {
    const groups = new Map<string, Group>();
    let [taken, total] = [0, 0];
    for (const piece of this.#queue) {
      const { topic, partition, bytes } = piece;
      const group = groups.get(keyOf(piece)) ?? { topic, partition, pieces: [], bytes: 0 };
      const isFull = group.bytes > 0 && group.bytes + bytes > this.#batchRoom;
      // What does not fit ends the request: what comes after it must not overtake it.
      if (isFull || (total > 0 && total + bytes > requestBytesMax)) break;
      group.pieces.push(piece);
      group.bytes += bytes;
      groups.set(keyOf(piece), group);
      taken += 1;
      total += bytes;
    }
    this.#sent = this.#queue.slice(0, taken);
    this.#queue = this.#queue.slice(taken);
    return [...groups.values()];
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
    this.#sent = [];
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
        identity,
        batches: [...groups.values()].map((group) => this.#batchOf(group)),
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

  #batchOf({ topic, partition, pieces }: Group): SequencedBatch {
    const records = pieces.flatMap((piece) => piece.records);
    const state = this.#stateOf(keyOf({ topic, partition }));
    const firstSequence = state.nextSequence;
    state.nextSequence = (firstSequence + records.length) % sequenceLimit;
    return { topic, partition, firstSequence, records };
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
    for (const { records, append } of group.pieces) {
      end += records.length;
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
      const limits = `the batch has up to ${bytes + batchOverheadBytes} bytes, log.topics.message_size is ${messageBytesMax}, but max.message.bytes of the topic is less`;
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
    for (const { append } of [...this.#sent, ...this.#queue]) append.done.reject(this.#failure);
    this.#sent = [];
    this.#queue = [];
  }
}

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

const doing = ({ topic, partition }: TopicPartition): string =>
  `writing to partition ${partition} of topic ${topic}`;

/** An upper bound of what a record takes in a batch. */
function recordBytes({ key, value, headers }: LogRecord): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) {
    bytes += headerOverheadBytes + Buffer.byteLength(name) + content.length;
  }
  return bytes;
}
