import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { TopicDrift } from '../../log/kafka/topic-admin.ts';
import type { LogRecord } from '../../log/log.ts';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { startTestKafka } from '../support/kafka.ts';
import { plainClient, withAdmin } from '../support/kafka-client.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { readAll, ResumingWriter } from '../support/resuming-writer.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const clients = ['auto', 'kafkajs', 'platformatic'] as const;
const partitions = 3;
const frozenMs = 30_000;

let cluster: KafkaCluster;
let proxy: TcpProxy;
beforeAll(async () => {
  proxy = await TcpProxy.listen();
  // Clients are sent on to the proxy, whatever address they begin with.
  const settings = { 'advertised.listeners': `PLAINTEXT://127.0.0.1:${proxy.port}` };
  cluster = await startTestKafka({ settings });
  proxy.forwardTo(Number(cluster.brokers[0]?.split(':')[1]));
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
});

function configOf(client: (typeof clients)[number], more: object = {}): KafkaLogConfig {
  return kafkaConfig({
    brokers: cluster.brokers,
    client,
    prefix: randomUUID(),
    timeout: { connect: '2 s', request: '4 s' },
    ...more,
  });
}

const record = (bytes: number): LogRecord => ({
  key: Buffer.from('k'),
  value: Buffer.alloc(bytes, 'x'),
  headers: [],
  timestampMs: 1_700_000_000_000,
});

/** One writer a client, at the same time, so that each fault is suffered by all. */
async function suffer(fault: (writers: readonly ResumingWriter[]) => Promise<void>) {
  const writers = clients.map((client) => new ResumingWriter(configOf(client), partitions));
  for (const writer of writers) writer.start();
  const haveWritten = (more: number) => async () => {
    const goals = writers.map(({ acknowledged }) => Math.min(...acknowledged) + more);
    const has = () =>
      writers.every(({ acknowledged }, at) => Math.min(...acknowledged) >= (goals[at] ?? 0));
    await expect.poll(has, { timeout: 60_000, interval: 50 }).toBe(true);
  };
  try {
    await haveWritten(400)();
    await fault(writers);
    await haveWritten(400)();
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()));
  }
  for (const writer of writers) {
    for (let partition = 0; partition < partitions; partition += 1) {
      const content = await writer.content(partition);
      expect(content).toEqual([...content.keys()]);
      expect(content.length).toBeGreaterThanOrEqual(writer.acknowledged[partition] ?? 0);
    }
  }
  return writers;
}

describe('every acknowledged record is there once and in order', () => {
  it('after kill -9 of the broker in the middle of producing', async () => {
    const writers = await suffer(async () => {
      await cluster.node(0).kill();
      await pause(500);
      await cluster.node(0).start();
    });
    for (const { failures } of writers) {
      expect(failures.length).toBeGreaterThan(0);
      expect(new Set(failures.map(({ kind }) => kind))).toEqual(new Set(['log-unreachable']));
    }
  });

  it('after answers to produce requests were lost on the way', async () => {
    const before = proxy.swallowed;
    const writers = await suffer(async (all) => {
      proxy.swallowProduceReplies(true);
      await expect
        .poll(() => all.every(({ failures }) => failures.length > 0), { timeout: 60_000 })
        .toBe(true);
      proxy.swallowProduceReplies(false);
    });
    expect(proxy.swallowed - before).toBeGreaterThanOrEqual(clients.length);
    const said = writers.flatMap(({ failures }) => failures.map(({ message }) => message));
    expect(said.filter((text) => !text.includes('does not answer'))).toEqual([]);
  });

  it('after the broker was frozen for 30 s', async () => {
    const writers = await suffer(async () => {
      cluster.node(0).freeze();
      await pause(frozenMs);
      cluster.node(0).thaw();
    });
    expect(writers.filter(({ failures }) => failures.length === 0)).toEqual([]);
  });
});

describe.each(clients)('with %s', (client) => {
  it('a request of a dead writer that arrives late is found before the first append', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.late`;
    const place = { topic, partition: 0 };
    const dead = await openKafkaLog({ config });
    await dead.createTopics([{ topic, partitions: 1, compacted: false }]);
    await dead.append([{ ...place, records: [record(1), record(2)] }]);
    proxy.holdProduceRequests();
    const lost = dead.append([{ ...place, records: [record(3), record(4)] }]);
    lost.catch(() => undefined);
    await expect.poll(() => proxy.held).toBeGreaterThan(0);
    const heir = await openKafkaLog({ config });
    const tails = heir.ranges();
    await pause(50);
    proxy.releaseHeld();
    expect((await tails).get(topic)).toEqual([{ start: 0, end: 4 }]);
    const [end] = await heir.append([{ ...place, records: [record(5)] }]);
    expect(end?.end).toBe(5);
    const sizes = (await readAll(heir, place)).map(({ value }) => value?.length);
    expect(sizes).toEqual([1, 2, 3, 4, 5]);
    await heir.close();
    await dead.close();
  });

  it('a record above the limit is refused by name before it is sent', async () => {
    const config = configOf(client, { topics: { message_size: '100 KiB' } });
    const topic = `${config.prefix}.large`;
    const log = await openKafkaLog({ config });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    await log.append([{ topic, partition: 0, records: [record(90_000), record(90_000)] }]);
    const append = log.append([{ topic, partition: 0, records: [record(200_000)] }]);
    await expect(append).rejects.toMatchObject({
      kind: 'record-too-large',
      message: expect.stringMatching(/200\d+ bytes for topic .*\.large .* 102400 bytes/),
      hint: expect.stringMatching(/message_size/),
    });
    await expect(log.append([])).rejects.toMatchObject({ kind: 'record-too-large' });
    await log.close();
  });

  it('a batch that the topic refuses as too large says which setting differs', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.small`;
    const entries = [{ name: 'max.message.bytes', value: '20000' }];
    await withAdmin(plainClient(cluster.brokers), (admin) =>
      admin.createTopics({
        waitForLeaders: false,
        topics: [{ topic, numPartitions: 1, configEntries: entries }],
      }),
    );
    const drifts: TopicDrift[] = [];
    const log = await openKafkaLog({ config, onDrift: (drift) => drifts.push(drift) });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    expect(drifts).toContainEqual({
      topic,
      setting: 'max.message.bytes',
      wanted: String(8 << 20),
      found: '20000',
    });
    await expect(
      log.append([{ topic, partition: 0, records: [record(30_000)] }]),
    ).rejects.toMatchObject({
      kind: 'record-too-large',
      message: expect.stringMatching(/\.small .*max\.message\.bytes/),
    });
    await log.close();
  });

  it('a topic that is deleted under us ends it, by name', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.deleted`;
    const log = await openKafkaLog({ config });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    await log.append([{ topic, partition: 0, records: [record(10)] }]);
    await withAdmin(plainClient(cluster.brokers), (admin) =>
      admin.deleteTopics({ topics: [topic] }),
    );
    const appendOn = async () => {
      for (;;) await log.append([{ topic, partition: 0, records: [record(10)] }]);
    };
    await expect(appendOn()).rejects.toMatchObject({
      kind: 'log-corrupt',
      message: expect.stringContaining(topic),
    });
    await log.close();
  });

  it('a topic with another number of partitions is refused with both numbers', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.grown`;
    await withAdmin(plainClient(cluster.brokers), (admin) =>
      admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 5 }] }),
    );
    const log = await openKafkaLog({ config });
    await expect(
      log.createTopics([{ topic, partitions: 4, compacted: false }]),
    ).rejects.toMatchObject({
      kind: 'log-conflict',
      message: `topic ${topic} has 5 partitions, not 4`,
      hint: expect.stringContaining('log.partitions'),
    });
    await log.close();
  });

  it('another writer of the same partition is noticed', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.shared`;
    const first = await openKafkaLog({ config });
    await first.createTopics([{ topic, partitions: 1, compacted: false }]);
    await first.ranges();
    const second = await openKafkaLog({ config });
    await second.append([{ topic, partition: 0, records: [record(10)] }]);
    await expect(
      first.append([{ topic, partition: 0, records: [record(10)] }]),
    ).rejects.toMatchObject({ kind: 'log-conflict', message: expect.stringContaining(topic) });
    await first.close();
    await second.close();
  });

  it('creates topics as the configuration wants them', async () => {
    const config = configOf(client, {
      retention: { age: '2 d', size: '1 GiB' },
      topics: { cleanup: 'compact,delete', message_size: '2 MiB' },
    });
    const log = await openKafkaLog({ config });
    const topicOf = (name: string) => `${config.prefix}.${name}`;
    await log.createTopics([
      { topic: topicOf('keyed'), partitions: 2, compacted: false, keyed: true },
      { topic: topicOf('keyless'), partitions: 2, compacted: false, keyed: false },
      { topic: topicOf('control'), partitions: 1, compacted: true },
    ]);
    await log.close();
    const names = ['keyed', 'keyless', 'control'].map(topicOf);
    const settings = await withAdmin(plainClient(cluster.brokers), (admin) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: names.map((name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name })),
      }),
    );
    const wanted = ['cleanup.policy', 'max.message.bytes', 'retention.bytes', 'retention.ms'];
    const found = settings.resources.map(({ resourceName, configEntries }) => [
      resourceName,
      ...configEntries
        .filter(({ configName }) => wanted.includes(configName))
        .toSorted((left, right) => left.configName.localeCompare(right.configName))
        .map(({ configValue }) => configValue),
    ]);
    expect(new Map(found.map(([name, ...values]) => [name, values]))).toEqual(
      new Map([
        [topicOf('keyed'), ['compact,delete', '2097152', '1073741824', '172800000']],
        [topicOf('keyless'), ['delete', '2097152', '1073741824', '172800000']],
        [topicOf('control'), ['compact', '2097152', '-1', '-1']],
      ]),
    );
  });

  it('reads on behind a batch that holds no record of ours', async () => {
    const config = configOf(client);
    const topic = `${config.prefix}.marked`;
    const place = { topic, partition: 0 };
    const log = await openKafkaLog({ config });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    const other = plainClient(cluster.brokers).producer({
      transactionalId: topic,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await other.connect();
    const transaction = await other.transaction();
    await transaction.send({ topic, messages: [{ key: 'k', value: 'v' }] });
    await transaction.commit();
    await other.disconnect();
    // 0 is the record and 1 the mark of the commit.
    await expect.poll(async () => (await log.ranges([topic])).get(topic)?.[0]?.end).toBe(2);
    expect((await log.lastRecord(place))?.offset).toBe(0);
    await log.append([{ ...place, records: [record(10)] }]);
    const limits = { bytesMax: 1, waitMs: 0 };
    const found = await log.read({ ...place, offset: 1 }, limits);
    expect(found.map(({ offset }) => offset)).toEqual([2]);
    expect(await log.read({ ...place, offset: 3 }, limits)).toEqual([]);
    await log.close();
  });

  it('names every broker that cannot be reached', async () => {
    const config = configOf(client, { brokers: ['127.0.0.1:1', 'no-such-host.invalid:9092'] });
    await expect(openKafkaLog({ config })).rejects.toMatchObject({
      kind: 'log-unreachable',
      message:
        'no broker of Kafka answers: broker 127.0.0.1:1: nothing listens there; broker no-such-host.invalid:9092: the host name is unknown',
    });
  });
});

it.each(clients)('names the advertised address that does not answer, with %s', async (client) => {
  const config = configOf(client);
  await proxy[Symbol.asyncDispose]();
  await expect(openKafkaLog({ config })).rejects.toMatchObject({
    kind: 'log-unreachable',
    message: `broker ${cluster.brokers[0]} answers, but sends us on to addresses that do not: broker 127.0.0.1:${proxy.port}: nothing listens there`,
    hint: expect.stringContaining('advertised.listeners'),
  });
});
