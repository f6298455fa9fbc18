import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type KafkaCluster, startKafka } from '../../commands/stack/kafka.ts';
import { runLogSuite } from './log-suite.ts';

const opener = new URL('../support/kafka-log-opener.ts', import.meta.url);

let dir = '';
let cluster: KafkaCluster;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tributary-kafka-log-'));
  cluster = await startKafka({ dir });
});
afterAll(async () => {
  await cluster?.stop();
  await rm(dir, { recursive: true, force: true });
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
