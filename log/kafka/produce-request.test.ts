import * as kafka from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { encodeProduce } from './produce-request.ts';

const timeoutMs = 24_000;
const places = [
  ['app.public.orders', 0],
  ['app.public.orders', 12],
  ['app.tributary.progress', 0],
] as const;

const messagesOf = (topic: string, partition: number): kafka.MessageRecord[] =>
  ['first', 'second'].map((text) => ({
    topic,
    partition,
    key: Buffer.from(`${topic} ${partition}`),
    value: Buffer.from(text.repeat(100)),
    timestamp: 1_700_000_000_000n,
  }));

describe.each([
  [7, kafka.produceV7],
  [9, kafka.produceV9],
  [11, kafka.produceV11],
] as const)('a produce request of version %i', (version, library) => {
  it('is byte for byte what the library makes of the same batches', () => {
    const options = { compression: 'none', producerId: 7n, producerEpoch: 1 } as const;
    const batches = places.map(([topic, partition]) => ({
      topic,
      partition,
      bytes: [kafka.createRecordsBatch(messagesOf(topic, partition), options).buffer],
    }));
    const messages = places.flatMap(([topic, partition]) => messagesOf(topic, partition));
    const expected = library.createRequest(-1, timeoutMs, messages, options).buffer;
    const made = Buffer.concat(encodeProduce(batches, { version, timeoutMs }));
    expect(made.equals(expected)).toBe(true);
  });
});
