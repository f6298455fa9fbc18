import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { startTestKafka } from '../support/kafka.ts';
import { runLogSuite } from './log-suite.ts';

const opener = new URL('../support/kafka-log-opener.ts', import.meta.url);

let cluster: KafkaCluster;
beforeAll(async () => {
  cluster = await startTestKafka();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

for (const client of ['auto', 'kafkajs', 'platformatic']) {
  runLogSuite({
    name: `kafka (${client})`,
    opener,
    create: async () => ({
      place: JSON.stringify({
        brokers: cluster.brokers,
        client,
        prefix: randomUUID(),
        // The suite writes a record of 10 MB.
        topics: { message_size: '16 MiB' },
      }),
      // The broker goes with its folder.
      remove: async () => undefined,
    }),
  });
}
