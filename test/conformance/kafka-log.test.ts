import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type KafkaCluster, startKafka } from '../../commands/stack/kafka.ts';
import type { KafkaPlace } from '../support/kafka-log-opener.ts';
import { runLogSuite } from './log-suite.ts';

let dir: string;
let cluster: KafkaCluster;
let places = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tributary-kafka-'));
  cluster = await startKafka({ dir });
});
afterAll(async () => {
  await cluster?.stop();
  await rm(dir, { recursive: true, force: true });
});

for (const client of ['auto', 'kafkajs', 'platformatic'] as const) {
  runLogSuite({
    name: `Kafka (${client})`,
    opener: new URL('../support/kafka-log-opener.ts', import.meta.url),
    create: async () => {
      places += 1;
      const place: KafkaPlace = { brokers: cluster.brokers, client, namespace: `t${places}` };
      return { place: JSON.stringify(place), remove: async () => {} };
    },
  });
}
