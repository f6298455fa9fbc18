import { setTimeout as pause } from 'node:timers/promises';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { TopicSpec } from '../log.ts';
import type { NewTopic, TopicMetadata, TopicOutcome } from './client.ts';
import type { Cluster } from './cluster.ts';
import { answeredError, codeName, errorCodes } from './errors.ts';
import type { RecordReader } from './record-reader.ts';

/** How often a new topic is looked at until all its partitions have leaders that know them. */
const createdPollMs = 50;

/** A setting of a topic that is not as the configuration wants it. */
export interface TopicDrift {
  readonly topic: string;
  readonly setting: string;
  readonly wanted: string;
  readonly found: string;
}

export interface TopicAdminOptions {
  readonly cluster: Cluster;
  readonly reader: RecordReader;
  readonly config: KafkaLogConfig;
  readonly onDrift: (drift: TopicDrift) => void;
}

/** Creates topics, and compares those that exist with what the configuration wants. */
export class TopicAdmin {
  readonly #options: TopicAdminOptions;
  /** Compared already. */
  readonly #known = new Set<string>();

  constructor(options: TopicAdminOptions) {
    this.#options = options;
  }

  /** Throws `log-conflict` for another number of partitions; other differences are told, not mended. */
  async create(specs: readonly TopicSpec[]): Promise<void> {
    const existing = await this.#existing(specs);
    const missing = specs.filter(({ topic }) => !existing.has(topic));
    for (const spec of specs) checkPartitions(spec, existing.get(spec.topic));
    await this.#compare(specs, existing);
    if (missing.length === 0) return;
    await this.#createMissing(missing);
    await this.#untilReady(missing);
    // Somebody else may have been first with one of them.
    await this.#compare(missing, await this.#existing(missing));
  }

  async #existing(specs: readonly TopicSpec[]): Promise<ReadonlyMap<string, TopicMetadata>> {
    const { topics } = await this.#options.cluster.metadata(specs.map(({ topic }) => topic));
    return new Map(topics.map((found) => [found.topic, found]));
  }

  async #createMissing(specs: readonly TopicSpec[]): Promise<void> {
    const { config } = this.#options;
    const wanted = specs.map((spec): NewTopic => ({
      topic: spec.topic,
      partitions: spec.partitions,
      replication: config.topics.replication,
      settings: settingsOf(spec, config),
    }));
    const outcomes = await this.#askController(wanted);
    for (const { topic, errorCode, errorMessage } of outcomes) {
      if (errorCode === errorCodes.none) this.#known.add(topic);
      else if (errorCode !== errorCodes.topicExists) {
        throw answeredError(errorCode, `creating topic ${topic}`, errorMessage ?? '');
      }
    }
  }

  /** Any broker forwards to the controller, so whichever answers will do. */
  async #askController(wanted: readonly NewTopic[]): Promise<readonly TopicOutcome[]> {
    const { cluster, config } = this.#options;
    const { brokers } = await cluster.metadata([]);
    let failure: unknown;
    for (const address of brokers.values()) {
      try {
        return await cluster.use(address, (link) =>
          link.createTopics(wanted, config.timeout.request),
        );
      } catch (error) {
        if (!(error instanceof PipelineError) || error.kind !== 'log-unreachable') throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** A topic is usable once the leader of each partition knows that it leads it. */
  async #untilReady(specs: readonly TopicSpec[]): Promise<void> {
    const { reader, config } = this.#options;
    const places = specs.flatMap(({ topic, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
    );
    const deadline = performance.now() + config.timeout.request;
    for (;;) {
      const existing = await this.#existing(specs);
      for (const spec of specs) checkPartitions(spec, existing.get(spec.topic));
      const ready = existing.size === specs.length ? await reader.ranges(places) : [];
      if (ready.length === places.length) return;
      if (performance.now() > deadline) {
        const names = specs.map(({ topic }) => topic).join(', ');
        throw answeredError(errorCodes.leaderNotAvailable, `creating ${names}`);
      }
      await pause(createdPollMs);
    }
  }

  async #compare(
    specs: readonly TopicSpec[],
    existing: ReadonlyMap<string, TopicMetadata>,
  ): Promise<void> {
    const { cluster, config, onDrift } = this.#options;
    const fresh = specs.filter(({ topic }) => existing.has(topic) && !this.#known.has(topic));
    if (fresh.length === 0) return;
    const { brokers } = await cluster.metadata([]);
    const [broker] = brokers.values();
    if (broker === undefined) return;
    const found = await cluster.use(broker, (link) =>
      link.settings(fresh.map(({ topic }) => topic)),
    );
    for (const spec of fresh) {
      const { topic } = spec;
      const replicas = existing.get(topic)?.partitions[0]?.replicas.length;
      if (replicas !== undefined && replicas !== config.topics.replication) {
        const wanted = String(config.topics.replication);
        onDrift({ topic, setting: 'replicas', wanted, found: String(replicas) });
      }
      for (const [setting, wanted] of Object.entries(settingsOf(spec, config))) {
        const value = found.get(topic)?.get(setting);
        if (value === undefined || sorted(value) === sorted(wanted)) continue;
        onDrift({ topic, setting, wanted, found: value });
      }
      this.#known.add(topic);
    }
  }
}

/** `compact,delete` and `delete,compact` are the same. */
const sorted = (value: string): string => value.split(',').toSorted().join(',');

function checkPartitions(spec: TopicSpec, found: TopicMetadata | undefined): void {
  if (found === undefined || found.partitions.length === spec.partitions) return;
  if (found.errorCode !== 0 && found.partitions.length === 0) return;
  const count = found.partitions.length;
  throw new PipelineError(
    'log-conflict',
    `topic ${spec.topic} has ${count} partitions, not ${spec.partitions}`,
    {
      hint: `set log.partitions back to ${count}: keys would move to other partitions and lose their order. For more partitions choose another log.prefix and snapshot again`,
      context: { topic: spec.topic, code: codeName(0) },
    },
  );
}

/** Compacted control topics stay small only if their segments are: the active one is never compacted. */
const controlSegmentBytes = 16 << 20;

/** A sink that is no further behind than this sees every delete of a compacted table. */
const tombstonesMsMin = 7 * 24 * 60 * 60 * 1000;

function settingsOf(spec: TopicSpec, config: KafkaLogConfig): Readonly<Record<string, string>> {
  const { topics, retention } = config;
  const cleanup = spec.compacted ? 'compact' : spec.keyed === true ? topics.cleanup : 'delete';
  const shared = {
    'cleanup.policy': cleanup,
    'min.insync.replicas': String(topics.min_insync),
    'max.message.bytes': String(topics.message_size),
    // The time of a record is that of its change, and must not become that of its arrival.
    'message.timestamp.type': 'CreateTime',
    // Said even when it is "for ever": the brokers' own default drops what is older than a week.
    'retention.ms': String(retention.age ?? -1),
    'retention.bytes': String(retention.size ?? -1),
  };
  if (!spec.compacted) {
    return cleanup === 'delete'
      ? shared
      : { ...shared, 'delete.retention.ms': String(tombstonesMsMin) };
  }
  return {
    ...shared,
    'retention.ms': '-1',
    'retention.bytes': '-1',
    'segment.bytes': String(controlSegmentBytes),
    'min.cleanable.dirty.ratio': '0.1',
  };
}
