import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { Log } from '../../log/log.ts';
import { kafkaLogSchema } from '../../runtime/config/log-fields.ts';

export interface KafkaPlace {
  readonly brokers: readonly string[];
  readonly client: 'auto' | 'kafkajs' | 'platformatic';
  /** Put before every topic, so that tests share a cluster and see nothing of one another. */
  readonly namespace: string;
}

/** Opens a Kafka log with the suite's topics in a namespace of their own; `place` is a KafkaPlace in JSON. */
export async function openLog(place: string): Promise<Log> {
  const { brokers, client, namespace } = JSON.parse(place) as KafkaPlace;
  const config = kafkaLogSchema.parse({
    type: 'kafka',
    brokers,
    client,
    prefix: namespace,
    topics: { message_size: '16 MiB' },
  });
  return inNamespace(await openKafkaLog({ config }), `${namespace}.`);
}

function inNamespace(log: Log, namespace: string): Log {
  const outer = <T extends { readonly topic: string }>(one: T): T => ({
    ...one,
    topic: namespace + one.topic,
  });
  const inner = (topic: string) => topic.slice(namespace.length);
  return {
    createTopics: (specs) => log.createTopics(specs.map(outer)),
    append: async (batches) => {
      const ends = await log.append(batches.map(outer));
      return ends.map((end) => ({ ...end, topic: inner(end.topic) }));
    },
    read: (from, limits) => log.read(outer(from), limits),
    lastRecord: (partition) => log.lastRecord(outer(partition)),
    ranges: async (topics) => {
      const found = await log.ranges(topics?.map((topic) => namespace + topic));
      return new Map([...found].map(([topic, ranges]) => [inner(topic), ranges]));
    },
    close: () => log.close(),
  };
}
