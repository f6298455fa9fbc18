import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startKafka } from '../../commands/stack/kafka.ts';
import { startRegistry } from '../../commands/stack/registry.ts';
import { isAlive } from '../support/is-alive.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import {
  atOnce,
  consumeValues,
  createTestTopic,
  plainClient,
  produceValues,
  withAdmin,
} from '../support/kafka-client.ts';

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

test('a broker that was killed comes back on its port with what it acknowledged', async () => {
  const cluster = resources.use(await startTestKafka());
  const client = plainClient(cluster.brokers);
  await createTestTopic(client, topic);
  await produceValues(client, topic, ['a', 'b']);
  const { pid } = cluster.node(0);
  await cluster.node(0).kill();
  expect(isAlive(pid)).toBe(false);
  await cluster.node(0).start();
  expect(cluster.node(0).pid).not.toBe(pid);
  expect(await consumeValues(client, topic, 2)).toEqual(['a', 'b']);
});

test('a frozen broker answers nobody until it is thawed', async () => {
  const cluster = resources.use(await startTestKafka());
  const impatient = plainClient(cluster.brokers, {
    ...atOnce,
    connectionTimeout: 500,
    requestTimeout: 500,
    enforceRequestTimeout: true,
  });
  const names = () => withAdmin(impatient, (admin) => admin.listTopics());
  expect(await names()).toEqual([]);
  cluster.node(0).freeze();
  await expect(names()).rejects.toThrow(/timed? ?out/i);
  cluster.node(0).thaw();
  await expect.poll(() => names().catch(() => null), { timeout: 30_000 }).toEqual([]);
});

test('a folder is started again with its data, even when the run before was killed', async () => {
  const before = await startKafka({ dir });
  resources.defer(() => before.kill());
  await createTestTopic(plainClient(before.brokers), topic);
  await produceValues(plainClient(before.brokers), topic, ['kept']);
  const { pid } = before.node(0);
  // Nobody stopped the first: this is what a killed process leaves behind.
  const again = await startKafka({ dir });
  resources.defer(() => again.kill());
  expect(isAlive(pid)).toBe(false);
  expect(again.brokers).toEqual(before.brokers);
  expect(await consumeValues(plainClient(again.brokers), topic, 1)).toEqual(['kept']);
  await expect(startKafka({ dir, brokers: 3 })).rejects.toThrow(/has 1 brokers, not 3/);
});

test('three brokers choose another leader when one dies', async () => {
  const cluster = resources.use(await startTestKafka({ brokers: 3 }));
  expect(cluster.brokers).toHaveLength(3);
  await createTestTopic(plainClient(cluster.brokers), topic, 3);
  const leaderFor = (brokers: readonly string[]) =>
    withAdmin(plainClient(brokers), async (admin) => {
      const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
      return metadata.topics[0]?.partitions[0]?.leader ?? 0;
    });
  const leader = await leaderFor(cluster.brokers);
  await cluster.node(leader - 1).kill();
  const others = cluster.brokers.filter((_, index) => index !== leader - 1);
  const next = () => leaderFor(others).catch(() => leader);
  await expect.poll(next, { timeout: 60_000 }).not.toBe(leader);
  await produceValues(plainClient(others), topic, ['after']);
  expect(await consumeValues(plainClient(others), topic, 1)).toEqual(['after']);
});

test("Kafka's own command line is at hand", async () => {
  const cluster = resources.use(await startTestKafka());
  await createTestTopic(plainClient(cluster.brokers), topic);
  const at = ['--bootstrap-server', cluster.brokers[0] ?? ''];
  const one = [...at, '--entity-type', 'topics', '--entity-name', topic];
  const shown = await cluster.tool('kafka.admin.ConfigCommand', [...one, '--describe', '--all']);
  expect(shown).toContain('retention.ms=604800000');
  await expect(cluster.tool('kafka.admin.ConfigCommand', ['--nonsense'])).rejects.toThrow(
    /^kafka\.admin\.ConfigCommand ended with code 1/,
  );
});

test('a server that cannot start is named with its own words, and is gone', async () => {
  const settings = { 'log.dirs': '/dev/null/nowhere' };
  await expect(startKafka({ dir, settings })).rejects.toThrow(/nowhere/);
  await rm(path.join(dir, 'node-1'), { recursive: true });
  await expect(startKafka({ dir, settings: { 'num.io.threads': 'many' } })).rejects.toThrow(
    /num\.io\.threads/,
  );
});

async function register(url: string, subject: string): Promise<number> {
  const response = await fetch(`${url}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: `{"type":"record","name":"R","fields":[]}` }),
  });
  return ((await response.json()) as { id: number }).id;
}

test('a registry gives the same schema the same id under every subject', async () => {
  const { url } = resources.use(await startTestRegistry());
  const id = await register(url, 'a-value');
  expect(id).toBeGreaterThan(0);
  expect(await register(url, 'b-value')).toBe(id);
});

test('a durable registry knows after kill -9 every id that it gave', async () => {
  const before = await startRegistry({ dir, isDurable: true });
  resources.defer(before.kill);
  const id = await register(before.url, 'a-value');
  await before.kill();
  const again = await startRegistry({ dir, isDurable: true });
  resources.defer(again.kill);
  const response = await fetch(`${again.url}/schemas/ids/${id}`);
  expect(await response.json()).toMatchObject({ schema: expect.stringContaining('"name":"R"') });
  expect(await readFile(path.join(dir, 'server.pid'), 'utf8')).toBe(String(again.pid));
});
