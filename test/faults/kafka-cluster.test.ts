import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { plainClient, withAdmin } from '../support/kafka-client.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { startTestKafka } from '../support/kafka.ts';
import { ResumingWriter } from '../support/resuming-writer.ts';

const clients = ['auto', 'kafkajs', 'platformatic'] as const;
const partitions = 3;

let cluster: KafkaCluster;
beforeAll(async () => {
  cluster = await startTestKafka({ brokers: 3 });
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

function configOf(client: string, minInsync: number): KafkaLogConfig {
  return kafkaConfig({
    brokers: cluster.brokers,
    client,
    prefix: randomUUID(),
    topics: { replication: 3, min_insync: minInsync },
    timeout: { connect: '2 s', request: '8 s' },
  });
}

/** Index of the broker that leads partition 0, asked of those that live. */
async function leaderOf(topic: string): Promise<number> {
  const metadata = await withAdmin(plainClient(cluster.brokers), (admin) =>
    admin.fetchTopicMetadata({ topics: [topic] }),
  );
  return (metadata.topics[0]?.partitions[0]?.leader ?? 1) - 1;
}

it('every acknowledged record is there once and in order after the leader died', async () => {
  const writers = clients.map((client) => new ResumingWriter(configOf(client, 2), partitions));
  const least = () => writers.map(({ acknowledged }) => Math.min(...acknowledged));
  const moreThan = async (before: readonly number[]) => {
    const has = () => least().every((count, at) => count >= (before[at] ?? 0) + 400);
    await expect.poll(has, { timeout: 90_000, interval: 50 }).toBe(true);
  };
  for (const writer of writers) writer.start();
  try {
    await moreThan([0, 0, 0]);
    const leader = await leaderOf(writers[0]?.topic ?? '');
    await cluster.node(leader).kill();
    // With two of three replicas writing goes on, under other leaders.
    await moreThan(least());
    await cluster.node(leader).start();
    await moreThan(least());
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()));
  }
  for (const writer of writers) {
    expect(writer.failures.length).toBeGreaterThan(0);
    for (let partition = 0; partition < partitions; partition += 1) {
      const content = await writer.content(partition);
      expect(content).toEqual([...content.keys()]);
      expect(content.length).toBeGreaterThanOrEqual(writer.acknowledged[partition] ?? 0);
    }
  }
});

it('too few replicas in sync is an error that passes when they are back', async () => {
  const [config] = clients.map((client) => configOf(client, 3));
  if (config === undefined) return;
  const topic = `${config.prefix}.orders`;
  const record = {
    key: Buffer.from('k'),
    value: Buffer.from('v'),
    headers: [],
    timestampMs: 1_700_000_000_000,
  };
  const append = async () => {
    const log = await openKafkaLog({ config });
    try {
      await log.createTopics([{ topic, partitions: 1, compacted: false }]);
      return await log.append([{ topic, partition: 0, records: [record] }]);
    } finally {
      await log.close();
    }
  };
  await append();
  const idle = ((await leaderOf(topic)) + 1) % 3;
  await cluster.node(idle).kill();
  const messages: string[] = [];
  await expect
    .poll(
      async () => {
        const failure = await append().catch((error: Error) => error);
        if (failure instanceof Error) messages.push(failure.message);
        return messages.at(-1);
      },
      { timeout: 60_000 },
    )
    .toMatch(/orders failed: fewer replicas are in sync than min\.insync\.replicas asks for/);
  await cluster.node(idle).start();
  await expect
    .poll(
      () =>
        append().then(
          () => 'written',
          () => 'refused',
        ),
      { timeout: 60_000 },
    )
    .toBe('written');
});
