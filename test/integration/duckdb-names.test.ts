import { rename } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ExactText, type RowImage, type Value } from '../../schemas/change.ts';
import type { ColumnSchema, LogicalType } from '../../schemas/table-schema.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { BatchMaker, type TableSpec, versionOf } from '../support/batch-maker.ts';
import { duckdbHarness } from '../support/duckdb-harness.ts';
import { lakeFolder } from '../support/duckdb-process.ts';
import { applyCuts, expectRowsAt } from '../conformance/sink-suite-steps.ts';
import { valueHistory } from '../conformance/sink-values.ts';

const int4: LogicalType = { kind: 'int4' };
const text: LogicalType = { kind: 'text' };

async function readAll(file: string, spec: TableSpec): Promise<readonly RowImage[]> {
  await using lake = await openLakeReader(file);
  const { table } = versionOf(spec, '');
  const images: RowImage[] = [];
  for await (const image of lake.readState(table, table.columns)) images.push(image);
  return images;
}

const named: readonly TableSpec[] = [
  {
    schema: 'Quoted "schema" . x',
    name: 'Quoted "" . Table',
    key: ['the "key"'],
    columns: { 'the "key"': int4, "it's": text },
  },
  { name: 'select', key: ['from'], columns: { from: int4, where: text } },
  { name: 'times', key: ['timestamp'], columns: { timestamp: int4, values: text } },
  { schema: 'tributary', name: 'own', key: ['id'], columns: { id: int4, tributary: text } },
  { schema: 'tributary_lake', name: 'lake', key: ['id'], columns: { id: int4, c0: text } },
  { schema: 'main', name: 'sqlite_master', key: ['s'], columns: { s: int4, t: text } },
  { name: 'Ümläut 🐘', key: ['ключ'], columns: { ключ: int4, '🐘': text } },
];

it.each(named)('names are kept as they are: $name', async (spec) => {
  await using folder = await lakeFolder();
  const sink = createDuckdbSink({ path: folder.path });
  const maker = new BatchMaker();
  const version = versionOf(spec, maker.next);
  const before = await sink.open();
  await sink.evolve(version);
  maker.add(version, { op: 'c', after: [1, 'one'] }).add(version, { op: 'c', after: [2, 'two'] });
  let checkpoint = await maker.apply(sink, before);
  maker.add(version, { op: 'u', after: [1, null], unchanged: [1] });
  maker.add(version, { op: 'd', before: [2, null] });
  checkpoint = await maker.apply(sink, checkpoint);
  await sink.close();
  expect(await readAll(folder.path, spec)).toEqual([[1, 'one']]);
});

it('a lake file named like a schema is no trouble', async () => {
  await using folder = await lakeFolder();
  const file = path.join(path.dirname(folder.path), 'public.duckdb');
  const spec = { name: 'thing', key: ['id'], columns: { id: int4 } };
  const maker = new BatchMaker();
  const version = versionOf(spec, maker.next);
  const sink = createDuckdbSink({ path: file });
  const before = await sink.open();
  await sink.evolve(version);
  maker.add(version, { op: 'c', after: [1] });
  await maker.apply(sink, before);
  await sink.close();
  expect(await readAll(file, spec)).toEqual([[1]]);
  // The view holds no name of the file either: it goes where the file goes.
  const moved = path.join(path.dirname(folder.path), 'elsewhere.duckdb');
  await rename(file, moved);
  await using lake = await openLakeReader(moved);
  expect(await lake.rows('select id from public.thing')).toEqual([{ id: 1 }]);
});

it('columns and tables that DuckDB cannot tell apart are refused by name', async () => {
  await using folder = await lakeFolder();
  const sink = createDuckdbSink({ path: folder.path });
  await sink.open();
  const refused = (spec: TableSpec) => sink.evolve(versionOf(spec, '0001'));
  await expect(
    refused({ name: 'twins', key: [], columns: { id: int4, ID: int4 } }),
  ).rejects.toMatchObject({
    kind: 'schema-rejected',
    message: expect.stringContaining('"id" and "ID"'),
  });
  await expect(
    refused({ name: 'ours', key: [], columns: { _CDC_SEQ: int4 } }),
  ).rejects.toMatchObject({ kind: 'schema-rejected' });
  await expect(
    refused({ schema: 'system', name: 'taken', key: [], columns: { id: int4 } }),
  ).rejects.toMatchObject({ kind: 'schema-rejected' });
  await refused({ name: 'orders', key: [], columns: { id: int4 } });
  for (const name of ['Orders', 'orders__state']) {
    await expect(refused({ name, key: [], columns: { id: int4 } })).rejects.toMatchObject({
      kind: 'schema-rejected',
      message: expect.stringContaining(`public.orders and public.${name}`),
    });
  }
  await sink.close();
});

const beyond = 2n ** 63n + 5n;
const awkward: readonly (readonly [LogicalType, readonly Value[]])[] = [
  [{ kind: 'float8' }, [-0, 0, -0, 5e-324]],
  [{ kind: 'float4' }, [-0, 0]],
  [{ kind: 'array', element: { kind: 'float8' } }, [[-0, 0, null, NaN, Infinity], [], [-0]]],
  [{ kind: 'timestamp', precision: 3 }, [beyond, -beyond, 2n ** 63n - 1n, 2n ** 63n - 2n]],
  [{ kind: 'timestamptz', precision: 3 }, [beyond, 0n, new ExactText('infinity')]],
  [{ kind: 'array', element: { kind: 'timestamp', precision: 3 } }, [[beyond, null, 0n]]],
  [{ kind: 'json' }, ['"\\ud800"', '"\\ud83d\\udc18"', '"\\\\ud800"', ' [1 ,2]']],
  [
    { kind: 'array', element: { kind: 'numeric', precision: 8, scale: 2 } },
    [[150n, new ExactText('NaN'), null], [-5n]],
  ],
  [{ kind: 'array', element: { kind: 'date' } }, [[1, new ExactText('infinity')], [null]]],
  [{ kind: 'uuid' }, ['00000000-0000-4000-8000-000000000001', 'no uuid']],
];

it.each(awkward)('values of %o come back as they were: %o', async (type, values) => {
  const harness = await duckdbHarness();
  try {
    const column: ColumnSchema = { name: 'value', type, pgType: type.kind, nullable: true };
    const history = valueHistory(column, values);
    const last = history.cuts.length - 1;
    await applyCuts(harness.sink, history, [{ index: last, publish: true }]);
    await expectRowsAt(harness, history, last);
    const [table] = history.cuts[last]?.versions ?? [];
    const rows = await harness.rows(table!.table);
    const found = rows.map((row) => row.values[1]);
    for (const value of found) expect(values.some((one) => sameValue(one, value!))).toBe(true);
  } finally {
    await harness.destroy();
  }
});

/** Tells −0 from 0, unlike the suite's identities. */
function sameValue(one: Value, other: Value): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return (
      one.length === other.length &&
      one.every((item, index) => sameValue(item, other[index] as Value))
    );
  }
  if (one instanceof ExactText && other instanceof ExactText) return one.text === other.text;
  return Object.is(one, other);
}

it('keys that no column can hold are found again', async () => {
  await using folder = await lakeFolder();
  const numeric: LogicalType = { kind: 'numeric', precision: 8, scale: 2 };
  const spec = { name: 'odd', key: ['k'], columns: { k: numeric, v: text, big: text } };
  const maker = new BatchMaker();
  const version = versionOf(spec, maker.next);
  const sink = createDuckdbSink({ path: folder.path });
  let checkpoint = await sink.open();
  await sink.evolve(version);
  const [nan, infinity] = [new ExactText('NaN'), new ExactText('Infinity')];
  maker.add(version, { op: 'c', after: [nan, 'a', 'A'] });
  maker.add(version, { op: 'c', after: [infinity, 'b', 'B'] });
  maker.add(version, { op: 'c', after: [100n, 'c', 'C'] });
  checkpoint = await maker.apply(sink, checkpoint);
  maker.add(version, { op: 'u', after: [nan, 'aa', null], unchanged: [2] });
  maker.add(version, { op: 'd', before: [infinity, null, null] });
  await maker.apply(sink, checkpoint);
  await sink.close();
  const rows = await readAll(folder.path, spec);
  expect(rows.map((row) => row.slice(1))).toEqual(
    expect.arrayContaining([
      ['aa', 'A'],
      ['c', 'C'],
    ]),
  );
  expect(rows).toHaveLength(2);
});

it('exact texts of unchanged columns stay with their row, and equal keyless rows go one by one', async () => {
  await using folder = await lakeFolder();
  const numeric: LogicalType = { kind: 'numeric', precision: 8, scale: 2 };
  const sink = createDuckdbSink({ path: folder.path });
  const maker = new BatchMaker();
  const keyed = { name: 'keyed', key: ['id'], columns: { id: int4, a: numeric, b: numeric } };
  const bag = { name: 'bag', key: [], id: 2, columns: { a: numeric, b: text } };
  const [keyedVersion, bagVersion] = [versionOf(keyed, maker.next), versionOf(bag, maker.next)];
  let checkpoint = await sink.open();
  await sink.evolve(keyedVersion);
  await sink.evolve(bagVersion);
  const nan = new ExactText('NaN');
  maker.add(keyedVersion, { op: 'c', after: [1, nan, nan] });
  for (const a of [nan, nan, nan, null]) maker.add(bagVersion, { op: 'c', after: [a, null] });
  checkpoint = await maker.apply(sink, checkpoint);
  maker.add(keyedVersion, { op: 'u', after: [1, null, 5n], unchanged: [1] });
  maker
    .add(bagVersion, { op: 'd', before: [nan, null] })
    .add(bagVersion, { op: 'd', before: [nan, null] });
  await maker.apply(sink, checkpoint);
  await sink.close();
  expect(await readAll(folder.path, keyed)).toEqual([[1, nan, 5n]]);
  expect(await readAll(folder.path, bag)).toEqual(
    expect.arrayContaining([
      [nan, null],
      [null, null],
    ]),
  );
  expect(await readAll(folder.path, bag)).toHaveLength(2);
});
