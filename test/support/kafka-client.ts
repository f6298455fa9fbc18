import kafkajs from 'kafkajs';
// As published its timer warns of negative times on Node 24, a thousand times a second.
import '../../log/kafka/kafkajs-parts.ts';

/** Another client than ours asks the servers, so that a fault of ours does not hide in the test. */
export function plainClient(
  brokers: readonly string[],
  options: Partial<kafkajs.KafkaConfig> = {},
): kafkajs.Kafka {
  return new kafkajs.Kafka({
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    ...options,
  });
}

/** For what has to be refused: the first answer counts. */
export const atOnce = { retry: { retries: 0 } } as const;

export async function withAdmin<T>(
  client: kafkajs.Kafka,
  use: (admin: kafkajs.Admin) => Promise<T>,
): Promise<T> {
  const admin = client.admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Creates a topic of one partition, with a replica on every broker, and waits for its leader. */
export async function createTestTopic(
  client: kafkajs.Kafka,
  topic: string,
  replicationFactor = 1,
): Promise<void> {
  const topics = [{ topic, numPartitions: 1, replicationFactor }];
  await withAdmin(client, (admin) => admin.createTopics({ topics, waitForLeaders: true }));
}

export async function produceValues(
  client: kafkajs.Kafka,
  topic: string,
  values: readonly string[],
): Promise<void> {
  const producer = client.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  try {
    const messages = values.map((value) => ({ value }));
    await producer.send({ topic, acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}

/** The first `count` values of a topic. */
export async function consumeValues(
  client: kafkajs.Kafka,
  topic: string,
  count: number,
): Promise<readonly string[]> {
  const consumer = client.consumer({ groupId: `test-${topic}` });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const values: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A coordinator that is loading, as after a restart, is tried again by the client itself.
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) reject(payload.error);
    });
    await consumer.run({
      eachMessage: async ({ message }) => {
        values.push(String(message.value));
        if (values.length === count) resolve();
      },
    });
    await promise;
    return values;
  } finally {
    await consumer.disconnect();
  }
}
