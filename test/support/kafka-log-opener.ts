import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { Log, PartitionBatch, PartitionOffset, ReadLimits } from '../../log/log.ts';
import type { TopicPartition, TopicSpec } from '../../log/log.ts';
import { kafkaConfig, type KafkaConfigInput } from './kafka-config.ts';

/**
 * For log-child.ts and the suite: opens the log described by a JSON place. Tests share a broker, so each
 * place has a prefix of its own, which all names of topics get here.
 */
export async function openLog(place: string): Promise<Log> {
  const input = JSON.parse(place) as KafkaConfigInput & { readonly prefix: string };
  const log = await openKafkaLog({ config: kafkaConfig(input) });
  return inNamespace(log, `${input.prefix}.`);
}

function inNamespace(log: Log, prefix: string): Log {
  const outward = <T extends { readonly topic: string }>(one: T): T => ({
    ...one,
    topic: `${prefix}${one.topic}`,
  });
  const inward = (topic: string): string => topic.slice(prefix.length);
  return {
    createTopics: (specs: readonly TopicSpec[]) => log.createTopics(specs.map(outward)),
    append: async (batches: readonly PartitionBatch[]) => {
      const ends = await log.append(batches.map(outward));
      return ends.map((end) => ({ ...end, topic: inward(end.topic) }));
    },
    read: (from: PartitionOffset, limits: ReadLimits) => log.read(outward(from), limits),
    lastRecord: (partition: TopicPartition) => log.lastRecord(outward(partition)),
    ranges: async (topics?: readonly string[]) => {
      const ranges = await log.ranges(topics?.map((topic) => `${prefix}${topic}`));
      return new Map([...ranges].map(([topic, list]) => [inward(topic), list]));
    },
    close: () => log.close(),
  };
}
