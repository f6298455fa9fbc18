import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import type { TopicPartition } from '../log.ts';
import type { BrokerAddress, BrokerLink, ClusterMetadata, KafkaClient } from './client.ts';
import type { TopicMetadata } from './client.ts';
import { addressText, answeredError, brokenError, errorCodes } from './errors.ts';
import { noBrokerError, wrongListenerError } from './errors.ts';

/** Between two questions for a leader that is being elected. */
const electionPollMs = 100;

export interface ClusterOptions {
  readonly client: KafkaClient;
  /** Brokers to begin with. */
  readonly brokers: readonly BrokerAddress[];
  /** Longest wait for the election of a leader. */
  readonly electionMs: number;
  readonly hasTls: boolean;
  readonly hasSasl: boolean;
}

/** Brokers of a Kafka cluster, who leads what, and connections to them. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #links = new Map<string, Promise<BrokerLink>>();
  readonly #leaders = new Map<string, readonly BrokerAddress[]>();
  #brokers: readonly BrokerAddress[] = [];
  #isClosed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /**
   * Finds a broker that answers and the addresses of all. Throws `log-unreachable` that names each
   * broker, or that the addresses the cluster advertises do not answer; `log-denied` when one refuses us.
   */
  async connect(): Promise<void> {
    await this.metadata([]);
    const asked = this.#options.brokers[0];
    const failures = await this.#failuresOf(this.#brokers);
    if (
      asked !== undefined &&
      this.#brokers.length > 0 &&
      failures.length === this.#brokers.length
    ) {
      const denied = failures.find(({ kind }) => kind !== 'log-unreachable');
      throw denied ?? wrongListenerError(asked, failures);
    }
  }

  /** Asks any broker. Topics that do not exist are left out; null: all topics. */
  async metadata(topics: readonly string[] | null): Promise<ClusterMetadata> {
    const known = [...this.#brokers, ...this.#options.brokers];
    const addresses = [...new Map(known.map((one) => [addressText(one), one])).values()];
    const failures: PipelineError[] = [];
    for (const address of addresses) {
      try {
        const metadata = await this.use(address, (link) => link.metadata(topics));
        this.#brokers = [...metadata.brokers.values()];
        return { ...metadata, topics: metadata.topics.filter(checkTopic) };
      } catch (error) {
        // Another broker would refuse us as well, and say no more.
        if (!(error instanceof PipelineError) || error.kind !== 'log-unreachable') throw error;
        failures.push(error);
      }
    }
    throw noBrokerError(failures);
  }

  /** Who leads the partition; undefined when topic or partition does not exist. Waits for an election. */
  async leader({ topic, partition }: TopicPartition): Promise<BrokerAddress | undefined> {
    const known = this.#leaders.get(topic)?.[partition];
    if (known !== undefined) return known;
    const deadline = performance.now() + this.#options.electionMs;
    for (;;) {
      const metadata = await this.metadata([topic]);
      const found = metadata.topics[0];
      if (found === undefined || found.partitions.length <= partition) return undefined;
      const leaders = found.partitions.map(({ leader }) => metadata.brokers.get(leader));
      if (leaders.every((leader) => leader !== undefined)) this.#leaders.set(topic, leaders);
      const leader = leaders[partition];
      if (leader !== undefined) return leader;
      if (performance.now() > deadline || this.#isClosed) {
        const place = `finding who leads partition ${partition} of topic ${topic}`;
        throw answeredError(errorCodes.leaderNotAvailable, place);
      }
      await pause(electionPollMs);
    }
  }

  /** Who leads is asked again. */
  forget(topic: string): void {
    this.#leaders.delete(topic);
  }

  /**
   * Uses a connection to a broker, opening it when there is none. `lane` tells connections apart: a
   * broker answers the requests of one connection one after the other, so a request that waits for
   * records must not stand in the way of others.
   */
  async use<T>(
    address: BrokerAddress,
    use: (link: BrokerLink) => Promise<T>,
    lane = '',
  ): Promise<T> {
    const key = `${addressText(address)} ${lane}`;
    const opening = this.#links.get(key) ?? this.#open(key, address);
    try {
      return await use(await opening);
    } catch (error) {
      // After an error nobody knows what else will come over this connection.
      if (this.#links.get(key) === opening) this.#links.delete(key);
      opening.then((link) => link.close()).catch(() => undefined);
      this.#leaders.clear();
      throw brokenError(error, address, this.#options);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const opening of this.#links.values()) {
      opening.then((link) => link.close()).catch(() => undefined);
    }
    this.#links.clear();
  }

  #open(key: string, address: BrokerAddress): Promise<BrokerLink> {
    if (this.#isClosed) throw new PipelineError('log-unreachable', 'the log was closed');
    const opening = this.#options.client.open(address);
    this.#links.set(key, opening);
    return opening;
  }

  async #failuresOf(addresses: readonly BrokerAddress[]): Promise<readonly PipelineError[]> {
    const tried = await Promise.allSettled(
      addresses.map((address) => this.use(address, async (link) => link)),
    );
    return tried.flatMap((result) =>
      result.status === 'rejected' && result.reason instanceof PipelineError ? [result.reason] : [],
    );
  }
}

/** Whether a topic exists. Throws `log-denied` for one that we may not see. */
function checkTopic({ topic, errorCode }: TopicMetadata): boolean {
  if (errorCode === errorCodes.topicDenied) {
    throw answeredError(errorCode, `looking for topic ${topic}`);
  }
  // A topic whose leaders are being elected is there; its partitions say so themselves.
  return errorCode === errorCodes.none || errorCode === errorCodes.leaderNotAvailable;
}
