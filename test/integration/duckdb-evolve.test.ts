import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { RowImage } from '../../schemas/change.ts';
import type { ColumnSchema, LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { type LakeReader, openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import type { Sink } from '../../sinks/sink.ts';
import { BatchMaker, type TableSpec, versionOf } from '../support/batch-maker.ts';
import { lakeFolder } from '../support/duckdb-process.ts';

interface Bench {
  readonly sink: Sink;
  readonly maker: BatchMaker;
  /** Evolves to the version that begins with the next change. */
  readonly evolve: (spec: TableSpec) => Promise<TableVersion>;
  readonly insert: (version: TableVersion, ...rows: readonly RowImage[]) => void;
  readonly apply: (options?: { readonly publish?: boolean }) => Promise<void>;
  readonly read: <T>(use: (lake: LakeReader) => Promise<T>) => Promise<T>;
  /** The table's live rows in order of the first column. */
  readonly rows: (version: TableVersion) => Promise<readonly RowImage[]>;
}

async function withLake(body: (bench: Bench) => Promise<void>): Promise<void> {
  await using folder = await lakeFolder();
  const sink = createDuckdbSink({ path: folder.path });
  const maker = new BatchMaker();
  let checkpoint = await sink.open();
  const read: Bench['read'] = async (use) => {
    await using lake = await openLakeReader(folder.path);
    return await use(lake);
  };
  try {
    await body({
      sink,
      maker,
      evolve: async (spec) => {
        const version = versionOf(spec, maker.next);
        await sink.evolve(version);
        return version;
      },
      insert: (version, ...rows) => {
        for (const after of rows) maker.add(version, { op: 'c', after });
      },
      apply: async (options) => {
        checkpoint = await maker.apply(sink, checkpoint, options);
      },
      read,
      rows: (version) =>
        read(async (lake) => {
          const images: RowImage[] = [];
          const { table } = version;
          for await (const image of lake.readState(table, table.columns)) images.push(image);
          return images.toSorted((a, b) => Number(a[0]) - Number(b[0]));
        }),
    });
  } finally {
    await sink.close();
  }
}

const int4: LogicalType = { kind: 'int4' };
const text: LogicalType = { kind: 'text' };
const withMissing = (type: LogicalType, missingValue: string): Omit<ColumnSchema, 'name'> => ({
  type,
  pgType: type.kind,
  nullable: true,
  missingValue,
});
const thing = { name: 'thing', key: ['id'] };

const constants: readonly (readonly [LogicalType, string, RowImage[number]])[] = [
  [{ kind: 'bool' }, 't', true],
  [{ kind: 'int8' }, '-9223372036854775808', -(2n ** 63n)],
  [{ kind: 'float8' }, 'Infinity', Infinity],
  [{ kind: 'numeric', precision: 10, scale: 2 }, '1.50', 150n],
  [{ kind: 'numeric-free' }, '1.500', '1.500'],
  [text, `it's "quoted"`, `it's "quoted"`],
  [
    { kind: 'uuid' },
    '00000000-0000-4000-8000-000000000001',
    '00000000-0000-4000-8000-000000000001',
  ],
  [{ kind: 'date' }, '1970-01-02', 1],
  [{ kind: 'time', precision: 6 }, '00:00:01', 1_000_000n],
  [{ kind: 'timestamp', precision: 6 }, '1970-01-01 00:00:01.5', 1_500_000n],
  [{ kind: 'timestamptz', precision: 6 }, '1970-01-01 00:00:01+00', 1_000_000n],
  [{ kind: 'jsonb' }, '{"a": [1]}', '{"a": [1]}'],
  [{ kind: 'bytea' }, '\\x00ff', new Uint8Array([0, 255])],
  [{ kind: 'array', element: int4 }, '{1,NULL,3}', [1, null, 3]],
  [{ kind: 'array', element: text }, '{"a,b",NULL}', ['a,b', null]],
];

it.each(constants)(
  'rows older than a column of %o read its constant %s',
  async (type, missing, value) => {
    await withLake(async ({ evolve, insert, apply, rows, maker, read }) => {
      const first = await evolve({ ...thing, columns: { id: int4 } });
      insert(first, [1], [2]);
      await apply();
      const columns = { id: int4, added: withMissing(type, missing) };
      const second = await evolve({ ...thing, id: 2, columns });
      expect(await rows(second)).toEqual([
        [1, value],
        [2, value],
      ]);
      insert(second, [3, null]);
      maker.add(second, { op: 'u', after: [2, null] });
      await apply();
      expect(await rows(second)).toEqual([
        [1, value],
        [2, null],
        [3, null],
      ]);
      const changes = await read((lake) =>
        lake.rows('select count(added) as n from public.thing__changes'),
      );
      expect(changes).toEqual([{ n: 0n }]);
    });
  },
);

it('numeric NaN as a constant is kept exactly on every older row', async () => {
  await withLake(async ({ evolve, insert, apply, rows }) => {
    const first = await evolve({ ...thing, columns: { id: int4 } });
    insert(first, [1]);
    await apply();
    const type: LogicalType = { kind: 'numeric', precision: 10, scale: 2 };
    const second = await evolve({
      ...thing,
      columns: { id: int4, added: withMissing(type, 'NaN') },
    });
    expect(await rows(second)).toMatchObject([[1, { text: 'NaN' }]]);
  });
});

const widenings: readonly (readonly [
  LogicalType,
  RowImage[number],
  LogicalType,
  RowImage[number],
])[] = [
  [{ kind: 'int2' }, 7, int4, 7],
  [int4, 7, { kind: 'int8' }, 7n],
  [int4, 7, { kind: 'numeric', precision: 12, scale: 2 }, 700n],
  [
    { kind: 'numeric', precision: 5, scale: 1 },
    75n,
    { kind: 'numeric', precision: 20, scale: 4 },
    75_000n,
  ],
  [{ kind: 'float4' }, 1.5, { kind: 'float8' }, 1.5],
  [{ kind: 'int8' }, 7n, text, '7'],
  [{ kind: 'numeric', precision: 5, scale: 1 }, 75n, { kind: 'numeric-free' }, '7.5'],
  [{ kind: 'int8' }, 7n, int4, 7],
];

it.each(widenings)('a column of %o with %s becomes one of %o', async (...widening) => {
  const [from, old, to, widened] = widening;
  await withLake(async ({ evolve, insert, apply, rows, read }) => {
    const first = await evolve({ ...thing, columns: { id: int4, v: from } });
    insert(first, [1, old]);
    await apply();
    const second = await evolve({ ...thing, id: 2, columns: { id: int4, v: to } });
    insert(second, [2, widened]);
    await apply();
    expect(await rows(second)).toEqual([
      [1, widened],
      [2, widened],
    ]);
    const columns = await read((lake) =>
      lake.rows(
        `select column_name as name from information_schema.columns where table_name = 'thing'`,
      ),
    );
    expect(columns.map(({ name }) => name)).toEqual(['id', 'v', '_cdc_seq', '_cdc_committed_at']);
  });
});

it('a column retyped beyond widening goes on in a new column behind the old name', async () => {
  await withLake(async ({ evolve, insert, apply, rows, read, maker }) => {
    const first = await evolve({ ...thing, columns: { id: int4, v: text } });
    insert(first, [1, 'one'], [2, 'two']);
    await apply();
    const second = await evolve({ ...thing, id: 2, columns: { id: int4, v: { kind: 'int8' } } });
    maker.add(second, { op: 'u', after: [2, 22n] });
    await apply();
    expect(await rows(second)).toEqual([
      [1, null],
      [2, 22n],
    ]);
    const [history] = await read((lake) =>
      lake.rows(`select notes::varchar as notes from tributary._tributary_schema_history
        order by from_seq desc limit 1`),
    );
    expect(String(history?.['notes'])).toContain('retyped from VARCHAR to BIGINT');
    const changes = await read((lake) =>
      lake.rows('select v, v__v2 from public.thing__changes order by _cdc_seq'),
    );
    expect(changes).toEqual([
      { v: 'one', v__v2: null },
      { v: 'two', v__v2: null },
      { v: null, v__v2: 22n },
    ]);
  });
});

it('a dropped column stays in the tables, and one added again under its name starts anew', async () => {
  await withLake(async ({ evolve, insert, apply, rows, read }) => {
    const first = await evolve({ ...thing, columns: { id: int4, v: text } });
    insert(first, [1, 'old']);
    await apply();
    const second = await evolve({ ...thing, id: 2, columns: { id: int4 } });
    insert(second, [2]);
    await apply();
    expect(
      await read((lake) => lake.rows('select id, v from public.thing__state order by id')),
    ).toEqual([
      { id: 1, v: 'old' },
      { id: 2, v: null },
    ]);
    const third = await evolve({ ...thing, id: 3, columns: { id: int4, v: text } });
    insert(third, [3, 'new']);
    await apply();
    expect(await rows(third)).toEqual([
      [1, null],
      [2, null],
      [3, 'new'],
    ]);
  });
});

it('a renamed column is a new column, and the history says so', async () => {
  await withLake(async ({ evolve, insert, apply, rows, read }) => {
    const first = await evolve({ ...thing, columns: { id: int4, before: text } });
    insert(first, [1, 'x']);
    await apply();
    const second = await evolve({ ...thing, id: 2, columns: { id: int4, after: text } });
    insert(second, [2, 'y']);
    await apply();
    expect(await rows(second)).toEqual([
      [1, null],
      [2, 'y'],
    ]);
    const [history] = await read((lake) =>
      lake.rows(`select notes::varchar as notes from tributary._tributary_schema_history
        order by from_seq desc limit 1`),
    );
    expect(String(history?.['notes'])).toMatch(/after added.*before dropped or renamed/);
  });
});

it('the rows of a table that was dropped and created again go with the cut that passes it', async () => {
  await withLake(async ({ evolve, insert, apply, rows, maker }) => {
    const first = await evolve({ ...thing, columns: { id: int4, v: text } });
    const other = await evolve({ name: 'other', key: ['id'], id: 9, columns: { id: int4 } });
    insert(first, [1, 'old'], [2, 'old']);
    await apply();
    const second = await evolve({ ...thing, oid: 99_999, id: 2, columns: { id: int4, v: text } });
    expect(await rows(second)).toHaveLength(2);
    maker.add(other, { op: 'c', after: [1] });
    await apply();
    expect(await rows(second)).toEqual([]);
    insert(second, [2, 'new']);
    await apply();
    expect(await rows(second)).toEqual([[2, 'new']]);
  });
});

it('a table changes shape in the middle of a transaction that is not published yet', async () => {
  await withLake(async ({ evolve, insert, apply, rows, maker }) => {
    const first = await evolve({ ...thing, columns: { id: int4, v: int4 } });
    insert(first, [1, 1], [2, 2], [3, 3]);
    await apply();
    maker.add(first, { op: 'u', after: [1, 10] });
    maker.add(first, { op: 'd', before: [2, null] });
    await apply({ publish: false });
    const columns = { id: int4, v: { kind: 'int8' } as const, w: withMissing(text, 'was here') };
    const second = await evolve({ ...thing, id: 2, columns });
    expect(await rows(first)).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    maker.add(second, { op: 'u', after: [3, 30n, null] });
    insert(second, [4, 40n, 'new']);
    await apply({ publish: false });
    expect(await rows(first)).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    await apply();
    expect(await rows(second)).toEqual([
      [1, 10n, 'was here'],
      [3, 30n, null],
      [4, 40n, 'new'],
    ]);
  });
});

it('rows of an older version that come after the newer one was evolved read its constants', async () => {
  await withLake(async ({ sink, maker, insert, apply, rows, evolve }) => {
    const first = await evolve({ ...thing, columns: { id: int4 } });
    insert(first, [1]);
    await apply();
    insert(first, [2]);
    const columns = { id: int4, added: withMissing(int4, '7') };
    const second = versionOf({ ...thing, id: 2, columns }, maker.next);
    await sink.evolve(second);
    await sink.evolve(first);
    await apply();
    expect(await rows(second)).toEqual([
      [1, 7],
      [2, 7],
    ]);
  });
});

interface Stage {
  /** Of each new column: whether rows that exist read a constant. */
  readonly added: readonly boolean[];
  readonly widens: boolean;
  readonly publish: boolean;
}

const stages = fc.array(
  fc.record<Stage>({
    added: fc.array(fc.boolean(), { maxLength: 3 }),
    widens: fc.boolean(),
    publish: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

it('columns come in any number and mix, between cuts and inside a hidden one', async () => {
  await fc.assert(
    fc.asyncProperty(stages, async (given) => {
      await withLake(async ({ evolve, insert, apply, rows, maker }) => {
        const columns: Record<string, LogicalType | Omit<ColumnSchema, 'name'>> = {
          id: int4,
          count: int4,
        };
        const constants: (number | null)[] = [];
        const expected: RowImage[] = [];
        let version = await evolve({ ...thing, columns });
        insert(version, [0, 0]);
        expected.push([0, 0]);
        await apply();
        for (const [index, { added, widens, publish }] of [
          ...given,
          { added: [], widens: false, publish: true },
        ].entries()) {
          for (const hasConstant of added) {
            const constant = hasConstant ? constants.length : null;
            columns[`added${constants.length}`] =
              constant === null ? int4 : withMissing(int4, String(constant));
            constants.push(constant);
          }
          if (widens) columns['count'] = { kind: 'int8' };
          const isWide = columns['count'] !== int4;
          const count = (value: number) => (isWide ? BigInt(value) : value);
          version = await evolve({ ...thing, id: index + 2, columns: { ...columns } });
          for (const [at, row] of expected.entries()) {
            const old = [...row, ...constants.slice(row.length - 2)];
            expected[at] = [row[0]!, count(Number(row[1])), ...old.slice(2)];
          }
          const moved = [0, count(index + 1), ...constants.map(() => null)];
          expected[0] = moved;
          maker.add(version, { op: 'u', after: moved });
          const fresh = [index + 1, count(index), ...constants.map((_, at) => at)];
          expected.push(fresh);
          insert(version, fresh);
          await apply({ publish });
        }
        expect(await rows(version)).toEqual(expected);
      });
    }),
    { numRuns: 40 },
  );
});
