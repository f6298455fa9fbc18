import { describe, expect, it } from 'vitest';
import type { LogRecord } from '../log/log.ts';
import { headerSeq } from '../schemas/control.ts';
import {
  goldenMessages,
  goldenTransactions,
  goldenTransactionSchemas,
} from '../test/support/debezium-golden.ts';
import { GoldenRun } from '../test/support/golden-run.ts';
import { hashMapOrder } from './java-hash-order.ts';
import { TransactionTopic, transactionSchemaTexts } from './transaction-topic.ts';

const hex = ({ key, value }: Pick<LogRecord, 'key' | 'value'>) => [
  key?.toString('hex'),
  value?.toString('hex'),
];

describe('the transaction topic', () => {
  it('has the schemas that Debezium registers', () => {
    const { key, value } = goldenTransactionSchemas();
    expect(transactionSchemaTexts).toEqual({ key: key.schemaText, value: value.schemaText });
  });

  it('has the records that Debezium writes, logical messages apart', () => {
    // A message counts as an event there, of a table whose name is an object's address in memory.
    const withMessage = new Set(
      goldenMessages().flatMap(({ message, xid }) =>
        message.tag === 'message' && message.transactional ? [xid] : [],
      ),
    );
    expect(withMessage.size).toBe(2);
    const isEndWithMessage = ({ key }: Pick<LogRecord, 'key'>, index: number): boolean =>
      index % 2 === 1 && withMessage.has(Number(/\d+(?=:)/.exec(String(key))?.[0]));
    const { edges } = new GoldenRun().play();
    const golden = goldenTransactions();
    expect(edges.length).toBe(golden.length);
    const compared = edges.flatMap((edge, index) => (isEndWithMessage(edge, index) ? [] : [index]));
    expect(compared.length).toBe(golden.length - 2);
    expect(compared.map((index) => hex(edges[index]!))).toEqual(
      compared.map((index) => hex(golden[index]!)),
    );
  });

  it('has positions that rise, BEGIN before the first change of its transaction, END behind the last', () => {
    const run = new GoldenRun().play();
    const seqOf = ({ headers }: LogRecord): string =>
      headers.find(([name]) => name === headerSeq)![1].toString();
    const edges = run.edges.map(seqOf);
    expect(edges).toEqual([...new Set(edges)].toSorted());
    for (const record of [...run.written.values()].flat()) {
      const seq = seqOf(record);
      const inside = edges.filter((edge) => edge.slice(0, 21) === seq.slice(0, 21));
      expect([inside[0]! < seq, seq < inside[1]!]).toEqual([true, true]);
    }
  });

  it('an END without a change has an empty list, and names of any length fit', () => {
    const buffer = { topic: 'app.transaction', partition: 0, records: [], isUsed: false };
    const topic = new TransactionTopic(buffer, { keySchemaId: 1, valueSchemaId: 2 });
    const edge = { xid: 7, lsn: 9n, committedAtUs: -1n, seq: '' };
    topic.begin(edge);
    expect(topic.end(edge).value?.toString('hex')).toBe(
      '000000000206454e4406373a39020002000' + '1',
    );
    topic.count(`public.${'ä'.repeat(200_000)}`, [
      { key: null, value: Buffer.of(1), headers: [], timestampMs: 0 },
    ]);
    expect(topic.end(edge).value?.length).toBeGreaterThan(400_000);
  });
});

describe('the order of tables', () => {
  it.each([
    // As `new HashMap<>()` of Java 17 walks them.
    [
      ['Aa', 'BB', 'C#'],
      ['Aa', 'BB', 'C#'],
    ],
    [
      ['BB', 'Aa'],
      ['BB', 'Aa'],
    ],
    [
      ['public.masters', 'public.service_event'],
      ['public.service_event', 'public.masters'],
    ],
  ])('of %j is %j', (keys, order) => {
    expect(hashMapOrder(keys)).toEqual(order);
  });
});
