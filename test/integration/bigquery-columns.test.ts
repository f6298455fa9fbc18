import { afterAll, describe, expect, it } from 'vitest';
import { ExactText, type RowImage } from '../../schemas/change.ts';
import type { ColumnSchema, LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import type { BigquerySinkOptions } from '../../sinks/bigquery/bigquery-sink.ts';
import type { ColumnPolicy, PolicyOf } from '../../sinks/bigquery/column-policy.ts';
import type { Sink } from '../../sinks/sink.ts';
import { BatchMaker, type TableSpec, versionOf } from '../support/batch-maker.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { BigqueryHarness } from '../support/bigquery-harness.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

const modes = ['batch', 'stream', 'bigquery-cdc'] as const;
const asJson: ColumnPolicy = { json: 'json', unfit: 'exact_text' };
const asText: ColumnPolicy = { json: 'string', unfit: 'exact_text' };
const int4: LogicalType = { kind: 'int4' };
const jsonb: LogicalType = { kind: 'jsonb' };

interface Bench {
  readonly harness: BigqueryHarness;
  readonly maker: BatchMaker;
  /** A new owner, with the policy that is set. */
  readonly open: () => Promise<Sink>;
  /** Evolves to the version that begins with the next change. */
  readonly evolve: (spec: TableSpec) => Promise<TableVersion>;
  readonly apply: () => Promise<void>;
  /** The table's live rows in order of the first column. */
  readonly rows: (version: TableVersion) => Promise<readonly RowImage[]>;
  /** "column TYPE" of one of the dataset's tables. */
  readonly types: (table: string) => readonly string[];
  policyOf: PolicyOf;
}

async function withLake(
  settings: Partial<BigquerySinkOptions>,
  body: (bench: Bench) => Promise<void>,
): Promise<void> {
  const harness = await fakeBigqueryHarness(fake, () => ({
    ...settings,
    policyOf: (column) => bench.policyOf(column),
  }));
  const maker = new BatchMaker();
  let sink = harness.sink;
  let checkpoint = await sink.open().catch(() => null);
  const bench: Bench = {
    harness,
    maker,
    policyOf: () => asJson,
    open: async () => {
      sink = await harness.reopen();
      checkpoint = await sink.open();
      return sink;
    },
    evolve: async (spec) => {
      const version = versionOf(spec, maker.next);
      await sink.evolve(version);
      return version;
    },
    apply: async () => {
      if (checkpoint === null) throw new Error('the sink is open');
      checkpoint = await maker.apply(sink, checkpoint);
    },
    rows: async (version) => {
      const rows = await harness.rows(version.table);
      return rows.map(({ values }) => values).toSorted((a, b) => Number(a[0]) - Number(b[0]));
    },
    types: (tableId) => {
      const ref = { projectId: 'test', datasetId: harness.dataset, tableId };
      const fields = fake.store.table(ref).fields.filter(({ name }) => !name.startsWith('_cdc_'));
      return fields.map(({ name, type }) => `${name} ${type}`);
    },
  };
  try {
    await body(bench);
  } finally {
    await sink.close();
    await harness.destroy();
  }
}

const thing = { name: 'thing', key: ['id'] };
const withMissing = (type: LogicalType, missingValue: string): Omit<ColumnSchema, 'name'> => ({
  type,
  pgType: type.kind,
  nullable: true,
  missingValue,
});

describe.for(modes)('documents as JSON, mode %s', (mode) => {
  it.for([
    ['jsonb', '{"a": [1, 1.5]}'],
    ['jsonb', '{"price": 1.50}'],
    ['json', ' {"b":1,"a":2}'],
    ['json', '{"a": 1, "a": 2}'],
    ['jsonb', '[100000000000000000001]'],
    ['jsonb', 'null'],
  ] as const)('rows older than a column of %s read its constant %s', async ([kind, missing]) => {
    await withLake({ mode }, async ({ evolve, apply, rows, maker }) => {
      const first = await evolve({ ...thing, columns: { id: int4 } });
      for (const id of [1, 2]) maker.add(first, { op: 'c', after: [id] });
      await apply();
      const columns = { id: int4, added: withMissing({ kind }, missing) };
      const second = await evolve({ ...thing, id: 2, columns });
      maker
        .add(second, { op: 'u', after: [2, null] })
        .add(second, { op: 'c', after: [3, missing] });
      await apply();
      expect(await rows(second)).toEqual([
        [1, missing],
        [2, null],
        [3, missing],
      ]);
    });
  });

  it.for([
    ['jsonb', '{"price": 1.50}', '{"price": 1.50}'],
    ['json', '{"a": 1, "a": 2}', '{"a": 1, "a": 2}'],
    ['jsonb', '{"a": 1}', '{"a": 1}'],
    ['date', 'infinity', new ExactText('infinity')],
  ] as const)(
    'rows of a version before a column of %s read its constant %s, when they come late',
    async ([kind, missing, value]) => {
      await withLake({ mode }, async ({ evolve, apply, rows, maker }) => {
        const doc = { kind: 'jsonb' } as const;
        const first = await evolve({ ...thing, columns: { id: int4, doc } });
        maker.add(first, { op: 'c', after: [0, null] });
        await apply();
        const columns = { id: int4, doc, added: withMissing({ kind }, missing) };
        const second = await evolve({ ...thing, id: 2, columns });
        maker
          .add(first, { op: 'c', after: [1, '[1.0]'] })
          .add(first, { op: 'c', after: [2, null] });
        await apply();
        maker.add(first, { op: 'u', after: [1, null], unchanged: [1] });
        await apply();
        expect(await rows(second)).toEqual([
          [0, null, value],
          [1, '[1.0]', value],
          [2, null, value],
        ]);
      });
    },
  );

  it('a column is retyped between json, jsonb and text, each with a place for its values', async () => {
    await withLake({ mode }, async ({ evolve, apply, rows, maker, types }) => {
      const kinds = ['json', 'jsonb', 'text', 'jsonb'] as const;
      for (const [index, kind] of kinds.entries()) {
        const columns = { id: int4, doc: { kind } };
        const version = await evolve({ ...thing, id: index + 1, columns });
        // What was rewritten at the source is read again.
        const row: RowImage = [1, `{"a": ${index}.5}`];
        maker.add(version, { op: 'r', after: row });
        maker.add(version, { op: 'r', after: [2, index === 2 ? 'no {json' : '[1e2]'] });
        await apply();
        expect((await rows(version))[0]).toEqual(row);
      }
      expect(types('thing__changes')).toEqual([
        'id INT64',
        'doc JSON',
        'doc__v2 STRING',
        'doc__v3 JSON',
      ]);
    });
  });

  it('a key stays STRING, which can be compared', async () => {
    await withLake({ mode }, async ({ evolve, apply, rows, maker, types, harness }) => {
      const columns = { doc: jsonb, body: jsonb };
      const version = await evolve({ name: 'keyed', key: ['doc'], columns });
      maker.add(version, { op: 'c', after: ['{"a": 1}', '{"b": 1.50}'] });
      await apply();
      maker.add(version, { op: 'u', after: ['{"a": 1}', null], unchanged: [1] });
      maker.add(version, { op: 'c', after: ['{"a": 2}', '[]'] });
      await apply();
      maker.add(version, { op: 'd', before: ['{"a": 2}', null] });
      await apply();
      expect(await rows(version)).toEqual([['{"a": 1}', '{"b": 1.50}']]);
      expect(types('keyed__changes')).toEqual(['doc STRING', 'body JSON']);
      const shown = await harness.lake.rows(
        `select json_value(body, '$.b') from \`${harness.dataset}\`.keyed`,
      );
      expect(shown.map(([value]) => Number(value))).toEqual([1.5]);
    });
  });
});

describe('the policy of a lake that is loaded', () => {
  const load = async ({ evolve, apply, maker }: Bench) => {
    const columns = { id: int4, doc: jsonb, other: jsonb };
    const version = await evolve({ ...thing, columns });
    maker.add(version, { op: 'c', after: [1, '{"a": 1}', '[1]'] });
    await apply();
    return version;
  };

  it.for([
    ['json', 'string', 'column public.thing.doc is JSON in the lake, and .* asks for STRING'],
    ['string', 'json', 'column public.thing.doc is STRING in the lake, and .* asks for JSON'],
  ] as const)(
    'is not changed from %s to %s: the sink does not open',
    async ([before, after, message]) => {
      await withLake({}, async (bench) => {
        bench.policyOf = () => ({ json: before, unfit: 'exact_text' });
        const version = await load(bench);
        bench.policyOf = () => ({ json: after, unfit: 'exact_text' });
        await expect(bench.open()).rejects.toMatchObject({
          kind: 'sink-refused',
          message: expect.stringMatching(`^${message} \\(and 1 more columns\\)$`) as string,
          hint: expect.stringContaining('columns.json') as string,
          context: { columns: ['public.thing.doc', 'public.thing.other'] },
        });
        bench.policyOf = () => ({ json: before, unfit: 'dead_letter' });
        await bench.open();
        expect(await bench.rows(version)).toEqual([[1, '{"a": 1}', '[1]']]);
      });
    },
  );

  it('may be another for columns that come later', async () => {
    await withLake({}, async (bench) => {
      const { evolve, apply, maker, rows, types } = bench;
      await load(bench);
      bench.policyOf = (column) => (column === 'public.thing.late' ? asText : asJson);
      await bench.open();
      const columns = { id: int4, doc: jsonb, other: jsonb, late: jsonb };
      const version = await evolve({ ...thing, id: 2, columns });
      maker.add(version, { op: 'c', after: [2, '1', '2', '3'] });
      await apply();
      expect((await rows(version)).at(-1)).toEqual([2, '1', '2', '3']);
      expect(types('thing__changes')).toEqual([
        'id INT64',
        'doc JSON',
        'other JSON',
        'late STRING',
      ]);
    });
  });

  it('is told as well where the lake is older than the policy, with the first version of the table', async () => {
    await withLake({}, async (bench) => {
      bench.policyOf = () => asText;
      const version = await load(bench);
      const { lake, dataset } = bench.harness;
      await lake.rows(/* sql */ `
        update \`${dataset}\`._tributary_schema_history
        set layout = replace(layout, ',"kind":"jsonb"', '') where true`);
      bench.policyOf = () => asJson;
      const sink = await bench.open();
      await expect(sink.evolve(version)).rejects.toMatchObject({ kind: 'sink-refused' });
    });
  });
});
