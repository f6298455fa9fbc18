import { beforeAll, describe, expect, it } from 'vitest';
import type { LogRecord } from '../../log/log.ts';
import { keySchema } from '../../schemas/avro.ts';
import { headerSeq, headerUnchanged } from '../../schemas/control.ts';
import type { AvroSchema } from '../../schemas/type-mapping.ts';
import { oracleType } from '../../test/support/avro-oracle.ts';
import {
  goldenMessages,
  goldenRecords,
  goldenSchema,
  goldenTable,
  type GoldenRecord,
} from '../../test/support/debezium-golden.ts';
import { GoldenRun } from '../../test/support/golden-run.ts';

// The raw input of a run of Debezium goes through our transcoder; what comes out must be its output.

type Fields = Record<string, unknown>;
interface Envelope {
  before: { [record: string]: Fields } | null;
  after: { [record: string]: Fields } | null;
  source: Fields;
  ts_ms: unknown;
  ts_us: unknown;
  ts_ns: unknown;
}

const body = (bytes: Buffer): Buffer => bytes.subarray(5);

/** A record's value without the clock of the connector, encoded again: equal bytes = equal in all else. */
function maskClocks(value: Buffer, schema: AvroSchema): string {
  const type = oracleType(schema);
  const envelope = type.fromBuffer(body(value)) as Envelope;
  const masked = { ...envelope, ts_ms: null, ts_us: null, ts_ns: null };
  return Buffer.concat([value.subarray(0, 5), type.toBuffer(masked)]).toString('hex');
}

const rowOf = (image: Envelope['before']): Fields => Object.values(image ?? {})[0] ?? {};

const ownHeaders = (record: GoldenRecord): ReadonlyMap<string, string> =>
  new Map([...record.headers].filter(([name]) => !name.startsWith('__debezium.context.')));

const debeziumHeaders = (record: LogRecord): ReadonlyMap<string, string> =>
  new Map(
    record.headers
      .filter(([name]) => name.startsWith('__debezium.'))
      .map(([name, value]) => [name, value.toString()]),
  );

const headerText = (record: LogRecord, name: string): string | undefined =>
  record.headers.find(([header]) => header === name)?.[1].toString();

/** Records of the run's snapshot come from another path than the stream. */
const streamed = (table: string): readonly GoldenRecord[] => {
  const snapshotRows: Readonly<Record<string, number>> = { masters: 2, types_zoo: 4 };
  return goldenRecords(table).slice(snapshotRows[table] ?? 1);
};

let run: GoldenRun;
beforeAll(() => {
  run = new GoldenRun().play();
});

const written = (table: string): readonly LogRecord[] => run.written.get(table) ?? [];

const schemaOf = (value: Buffer, table: string): AvroSchema => {
  const id = value.readInt32BE(1);
  for (const version of table === 'masters' ? [1, 2, 3, 4] : table === 'defaults_zoo' ? [2] : [1]) {
    const golden = goldenSchema(table, 'value', version);
    if (golden.id === id) return golden.schema;
  }
  throw new Error(`no golden schema of ${table} has id ${id}`);
};

const identical = [
  'service_event',
  'toast_zoo',
  'full_zoo',
  'nopk',
  'uniq_idx',
  'comp_pk',
  'types_zoo',
];

describe('the output of Debezium 3.6.3', () => {
  it.each([...identical, 'Odd-Näme 1', 'masters', 'defaults_zoo'])(
    'has the same number of records, keys and headers for %s',
    (table) => {
      const golden = streamed(table.replace(/[ä ]/g, '_'));
      const ours = written(table);
      expect(ours.map((record) => record.key?.toString('hex'))).toEqual(
        golden.map((record) => record.key?.toString('hex')),
      );
      expect(ours.map((record) => record.value === null)).toEqual(
        golden.map(({ value }) => value === null),
      );
      expect(ours.map(debeziumHeaders)).toEqual(golden.map(ownHeaders));
    },
  );

  it.each([...identical, 'Odd-Näme 1'])(
    'is ours byte for byte for %s, the clock apart',
    (table) => {
      const name = table.replace(/[ä ]/g, '_');
      const golden = streamed(name);
      for (const [index, record] of written(table).entries()) {
        const expected = golden[index]?.value ?? null;
        if (record.value === null || expected === null) continue;
        const schema = schemaOf(expected, name);
        expect(maskClocks(record.value, schema)).toBe(maskClocks(expected, schema));
      }
    },
  );

  it('is ours for masters in everything but defaults in the before of deletes', () => {
    const golden = streamed('masters');
    let differing = 0;
    for (const [index, record] of written('masters').entries()) {
      const expected = golden[index]?.value ?? null;
      if (record.value === null || expected === null) continue;
      const schema = schemaOf(expected, 'masters');
      if (maskClocks(record.value, schema) === maskClocks(expected, schema)) continue;
      differing += 1;
      // A column that is not in the image of the key stands as its default there, as null here.
      const type = oracleType(schema);
      const ours = type.fromBuffer(body(record.value)) as Envelope;
      const theirs = type.fromBuffer(body(expected)) as Envelope;
      expect(rowOf(theirs.before)['created_at']).toEqual({ string: '1970-01-01T00:00:00.000000Z' });
      expect(rowOf(ours.before)['created_at']).toBeNull();
      expect({ ...rowOf(ours.before), created_at: 0 }).toEqual({
        ...rowOf(theirs.before),
        created_at: 0,
      });
      expect({ ...ours.source }).toEqual({ ...theirs.source });
    }
    expect(differing).toBe(2);
  });

  it('is ours for defaults_zoo but for NULL, which Debezium delivers as the default', () => {
    const [record] = written('defaults_zoo');
    const expected = streamed('defaults_zoo')[0]!.value!;
    const type = oracleType(schemaOf(expected, 'defaults_zoo'));
    const ours = rowOf((type.fromBuffer(body(record!.value!)) as Envelope).after);
    const theirs = rowOf((type.fromBuffer(body(expected)) as Envelope).after);
    expect(theirs).toMatchObject({ d_int: { int: 7 }, d_text: { string: "x'y" } });
    expect({ ...ours }).toEqual({ ...theirs, d_int: null, d_text: null });
  });

  it('keys are of the schema that Debezium registers', () => {
    for (const { message } of goldenMessages()) {
      if (message.tag !== 'relation' || message.name !== 'comp_pk') continue;
      const schema = keySchema(goldenTable(message), 'golden');
      expect(schema).toEqual(goldenSchema('comp_pk', 'key').schema);
    }
  });
});

/** Types that are text in Debezium's records too. */
describe('what Debezium cannot say', () => {
  it('every record has a position of its own, rising in the order of the log', () => {
    for (const [table, records] of run.written) {
      const positions = records.map((record) => headerText(record, headerSeq) ?? '');
      expect([table, positions]).toEqual([table, [...positions].sort()]);
      expect(new Set(positions).size).toBe(records.length);
    }
  });

  it('a key change is parts 0, 1 and 2 of one position', () => {
    const parts = written('masters').map((record) => headerText(record, headerSeq)?.at(-1));
    expect(parts.slice(2, 5)).toEqual(['0', '1', '2']);
  });

  it('columns that were not sent are named', () => {
    const names = written('toast_zoo').map((record) => headerText(record, headerUnchanged));
    const all = '["big","big_nn","bigj","bigb"]';
    const others = '["big_nn","bigj","bigb"]';
    expect(names).toEqual([
      undefined,
      all,
      others,
      undefined,
      undefined,
      others,
      undefined,
      undefined,
    ]);
  });
});
