import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import kafkajs from 'kafkajs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAuthority } from '../../commands/stack/certificates.ts';
import { type KafkaCluster, startKafka } from '../../commands/stack/kafka.ts';
import { startRegistry } from '../../commands/stack/registry.ts';

/** The servers that tests and `tributary stack` start, asked by a client that is not ours. */
let dir: string;
let resources: AsyncDisposableStack;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-stack-'));
  resources = new AsyncDisposableStack();
});
afterEach(async () => {
  await resources.disposeAsync();
  await rm(dir, { recursive: true, force: true });
});

const topic = 'orders';

function clientOf(
  brokers: readonly string[],
  options: Partial<kafkajs.KafkaConfig> = {},
): kafkajs.Kafka {
  const quiet = { logLevel: kafkajs.logLevel.NOTHING, retry: { retries: 0 } };
  return new kafkajs.Kafka({ brokers: [...brokers], ...quiet, ...options });
}

async function withAdmin<T>(client: kafkajs.Kafka, use: (admin: kafkajs.Admin) => Promise<T>) {
  const admin = client.admin({ retry: { retries: 5 } });
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

async function produce(client: kafkajs.Kafka, ...values: readonly string[]) {
  const producer = client.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 5 },
  });
  await producer.connect();
  try {
    const messages = values.map((value) => ({ value }));
    await producer.send({ topic, acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}

async function endOf({ brokers }: KafkaCluster): Promise<string | undefined> {
  return withAdmin(clientOf(brokers), async (admin) => {
    return (await admin.fetchTopicOffsets(topic))[0]?.high;
  });
}

test('a broker that was killed comes back on its port with what it acknowledged', async () => {
  const cluster = resources.use(await startKafka({ dir: path.join(dir, 'kafka') }));
  const client = clientOf(cluster.brokers);
  const topics = [{ topic, numPartitions: 1, replicationFactor: 1 }];
  await withAdmin(client, (admin) => admin.createTopics({ topics, waitForLeaders: true }));
  await produce(client, 'a', 'b');
  await cluster.node(0).kill();
  await cluster.node(0).start();
  expect(await endOf(cluster)).toBe('2');
});

test('three brokers choose another leader when one dies', async () => {
  const cluster = resources.use(await startKafka({ dir: path.join(dir, 'kafka'), brokers: 3 }));
  expect(cluster.brokers).toHaveLength(3);
  const client = clientOf(cluster.brokers);
  const topics = [{ topic, numPartitions: 1, replicationFactor: 3 }];
  await withAdmin(client, (admin) => admin.createTopics({ topics, waitForLeaders: true }));
  const leaderFor = (brokers: readonly string[]) =>
    withAdmin(clientOf(brokers), async (admin) => {
      const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
      return metadata.topics[0]?.partitions[0]?.leader ?? 0;
    });
  const leader = await leaderFor(cluster.brokers);
  await cluster.node(leader - 1).kill();
  const others = cluster.brokers.filter((_, index) => index !== leader - 1);
  const next = () => leaderFor(others).catch(() => leader);
  await expect.poll(next, { timeout: 60_000 }).not.toBe(leader);
  await produce(clientOf(others), 'after');
});

test('a registry gives the same schema the same id under every subject', async () => {
  const { url } = resources.use(await startRegistry({ dir }));
  const schema = JSON.stringify({ schema: '{"type":"record","name":"R","fields":[]}' });
  const register = async (subject: string) => {
    const response = await fetch(`${url}/subjects/${subject}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: schema,
    });
    return ((await response.json()) as { id: number }).id;
  };
  expect(await register('a-value')).toBe(await register('b-value'));
});

describe('a secured cluster', () => {
  test('lets in who has the password or a certificate, and nobody else', async () => {
    const authority = await createAuthority(path.join(dir, 'tls'), 'ca');
    const here = ['DNS:localhost', 'IP:127.0.0.1'];
    const server = await authority.issue({ name: 'server', alternatives: here });
    const own = await authority.issue({ name: 'app' });
    const security = { caFile: authority.caFile, server, users: { app: 'open-sesame' } };
    const cluster = resources.use(await startKafka({ dir: path.join(dir, 'kafka'), security }));
    const ca = await readFile(authority.caFile, 'utf8');
    const names = (client: kafkajs.Kafka) => withAdmin(client, (admin) => admin.listTopics());
    const scram = (password: string) =>
      clientOf(cluster.securedBrokers, {
        ssl: { ca },
        sasl: { mechanism: 'scram-sha-512', username: 'app', password },
      });
    expect(await names(scram('open-sesame'))).toEqual([]);
    await expect(names(scram('wrong'))).rejects.toThrow(/authentication failed/);
    const [cert, key] = [await readFile(own.certFile, 'utf8'), await readFile(own.keyFile, 'utf8')];
    expect(await names(clientOf(cluster.mutualBrokers, { ssl: { ca, cert, key } }))).toEqual([]);
    await expect(names(clientOf(cluster.mutualBrokers, { ssl: { ca } }))).rejects.toThrow();
  });
});
