import { Reader, readRecordsBatch } from '@platformatic/kafka';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogRecord, PartitionBatch } from '../log.ts';
import type { BrokerLink, KafkaClient, ProduceRequest } from './client.ts';
import { Cluster } from './cluster.ts';
import { ProduceQueue } from './produce-queue.ts';

const topic = 'app.public.orders';
const partitions = 3;
const messageBytesMax = 2_000;

/** What goes wrong at the n-th produce request, and whether the broker has the records all the same. */
type Fault = 'none' | 'lost request' | 'lost answer' | 'refused';

/** A broker in memory: it keeps Kafka's rule for sequence numbers, and fails once as it is told. */
class FakeBroker {
  readonly content = Array.from({ length: partitions }, (): string[] => []);
  largest = 0;
  requests = 0;
  #underWay = 0;
  mostUnderWay = 0;
  readonly #failAt: number;
  readonly #fault: Fault;

  constructor(failAt: number, fault: Fault) {
    this.#failAt = failAt;
    this.#fault = fault;
  }

  client(): KafkaClient {
    const address = { host: 'fake', port: 9092 };
    const places = Array.from({ length: partitions }, (_, partition) => ({
      partition,
      leader: 1,
      replicas: [1],
    }));
    const link: Partial<BrokerLink> = {
      metadata: async () => ({
        brokers: new Map([[1, address]]),
        topics: [{ topic, errorCode: 0, partitions: places }],
      }),
      producerIdentity: async () => ({ errorCode: 0, id: 7n, epoch: 0 }),
      produce: (request) => this.#produce(request),
      close: () => undefined,
    };
    return { name: 'kafkajs', open: async () => link as BrokerLink };
  }

  async #produce({ batches }: ProduceRequest) {
    this.requests += 1;
    this.#underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.#underWay);
    const fault = this.requests === this.#failAt ? this.#fault : 'none';
    await new Promise(setImmediate);
    this.#underWay -= 1;
    if (fault === 'lost request') throw new Error('reset');
    const produced = batches.map(({ partition, bytes: parts }, index) => {
      const { firstSequence, records } = readRecordsBatch(Reader.from(Buffer.concat(parts)));
      const list = this.content[partition] ?? [];
      const baseOffset = list.length;
      const bytes = records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
      this.largest = Math.max(this.largest, bytes);
      if (fault === 'refused' && index === 0)
        return { topic, partition, errorCode: 19, baseOffset };
      if (firstSequence !== baseOffset) return { topic, partition, errorCode: 45, baseOffset };
      list.push(...records.map(({ key }) => String(key)));
      return { topic, partition, errorCode: 0, baseOffset };
    });
    if (fault === 'lost answer') throw new Error('reset');
    return produced;
  }
}

function queueOn(broker: FakeBroker): ProduceQueue {
  const cluster = new Cluster({
    client: broker.client(),
    brokers: [{ host: 'fake', port: 9092 }],
    electionMs: 1_000,
    hasTls: false,
    hasSasl: false,
  });
  return new ProduceQueue({ cluster, messageBytesMax, requestTimeoutMs: 1_000 });
}

const record = (key: string, bytes: number): LogRecord => ({
  key: Buffer.from(key),
  value: Buffer.alloc(bytes),
  headers: [],
  timestampMs: 0,
});

/** Appends; each is a list of [partition, sizes of its records]. */
const appendsOf = fc.array(
  fc.uniqueArray(
    fc.tuple(
      fc.nat({ max: partitions - 1 }),
      fc.array(fc.nat({ max: 900 }), { minLength: 1, maxLength: 8 }),
    ),
    { selector: ([partition]) => partition, minLength: 1, maxLength: partitions },
  ),
  { minLength: 1, maxLength: 12 },
);

describe('the queue to Kafka', () => {
  it('keeps each partition in the order of the calls, and writes nothing after a failure', async () => {
    const faults = fc.constantFrom<Fault>('none', 'lost request', 'lost answer', 'refused');
    await fc.assert(
      fc.asyncProperty(
        appendsOf,
        fc.integer({ min: 1, max: 6 }),
        faults,
        async (appends, at, fault) => {
          const broker = new FakeBroker(at, fault);
          const queue = queueOn(broker);
          const called = Array.from({ length: partitions }, (): string[] => []);
          const results = appends.map((append, number) => {
            const batches = append.map(([partition, sizes]): PartitionBatch => {
              const records = sizes.map((bytes, index) => record(`${number}.${index}`, bytes));
              called[partition]?.push(...records.map(({ key }) => String(key)));
              return { topic, partition, records };
            });
            return { ends: queue.append(batches), needs: called.map(({ length }) => length) };
          });
          const settled = await Promise.allSettled(results.map(({ ends }) => ends));
          for (const [partition, list] of broker.content.entries()) {
            expect(list).toEqual(called[partition]?.slice(0, list.length));
          }
          for (const [index, result] of settled.entries()) {
            if (result.status !== 'fulfilled') continue;
            for (const { partition, end } of result.value) {
              expect(end).toBe(results[index]?.needs[partition]);
              expect(broker.content[partition]?.length).toBeGreaterThanOrEqual(end);
            }
          }
          const hasFailed = fault !== 'none' && broker.requests >= at;
          expect(settled.some(({ status }) => status === 'rejected')).toBe(hasFailed);
          const later = await queue.append([]).then(
            () => 'taken',
            () => 'refused',
          );
          expect(later).toBe(hasFailed ? 'refused' : 'taken');
          expect(broker.largest).toBeLessThanOrEqual(messageBytesMax);
          expect(broker.mostUnderWay).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('lets appends of one turn share a request', async () => {
    const broker = new FakeBroker(0, 'none');
    const queue = queueOn(broker);
    const one = (partition: number) =>
      queue.append([{ topic, partition, records: [record('k', 10)] }]);
    await Promise.all([one(0), one(1), one(0), one(2)]);
    expect(broker.requests).toBe(1);
  });

  it('refuses a record that no batch can hold, and everything after it', async () => {
    const queue = queueOn(new FakeBroker(0, 'none'));
    const append = (bytes: number) =>
      queue.append([{ topic, partition: 0, records: [record('k', bytes)] }]);
    await expect(append(3_000)).rejects.toMatchObject({ kind: 'record-too-large' });
    await expect(append(1)).rejects.toMatchObject({ kind: 'record-too-large' });
  });
});
