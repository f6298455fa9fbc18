import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, it } from 'vitest';
import { openLake } from '../../sinks/duckdb/client.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { borrowLake } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { bankTotal, loadBank } from '../support/bank.ts';
import { DuckdbProcess, lakeFolder } from '../support/duckdb-process.ts';

it('a lake that another process has open is refused by name of that process', async () => {
  await using folder = await lakeFolder();
  await using holder = new DuckdbProcess('hold', folder.path);
  await holder.line(/^held$/);
  const named = {
    kind: 'sink-locked',
    message: expect.stringContaining(`process ${holder.pid}`),
    context: { holderPid: holder.pid },
  };
  await expect(createDuckdbSink({ path: folder.path }).open()).rejects.toMatchObject(named);
  await expect(openLakeReader(folder.path)).rejects.toMatchObject(named);
  const borrowed = borrowLake(folder.path, { purpose: 'test', waitMs: 300 }, async () => 'had it');
  await expect(borrowed).rejects.toMatchObject(named);
  await holder.kill();
  await expect(
    borrowLake(folder.path, { purpose: 'test', waitMs: 5_000 }, async (grant) => grant),
  ).resolves.toBeNull();
});

it('a file that is no lake, a damaged and a cut off one are corrupt, and stay as they are', async () => {
  await using folder = await lakeFolder();
  const sink = createDuckdbSink({ path: folder.path });
  await loadBank(sink, await sink.open(), async (transaction) => transaction < 5);
  await sink.close();
  const whole = await readFile(folder.path);
  const damaged = Buffer.from(whole);
  damaged.fill(0x5a, 4096, 12_288);
  const broken = {
    'no-lake': Buffer.from('this is a text, not a database\n'.repeat(400)),
    damaged,
    'cut-off': whole.subarray(0, 6_000),
  };
  for (const [name, content] of Object.entries(broken)) {
    const file = path.join(path.dirname(folder.path), `${name}.duckdb`);
    await writeFile(file, content);
    await expect(createDuckdbSink({ path: file }).open(), name).rejects.toMatchObject({
      kind: 'sink-corrupt',
      message: expect.stringContaining(file),
    });
    expect((await readFile(file)).equals(content), name).toBe(true);
  }
});

it('a file with row groups of DuckDB’s own size is gone on with in smaller ones', async () => {
  await using folder = await lakeFolder();
  await mkdir(path.dirname(folder.path), { recursive: true });
  const insertSql = (from: number, to: number) =>
    `insert into t select i, 'row ' || i from range(${from}, ${to}) r(i)`;
  const instance = await DuckDBInstance.create(folder.path);
  const connection = await instance.connect();
  await connection.run(`create table t (id bigint, name varchar); ${insertSql(0, 130_000)}`);
  connection.closeSync();
  instance.closeSync();
  const lake = await openLake(folder.path);
  await lake.run(`${insertSql(130_000, 130_010)}; checkpoint; ${insertSql(130_010, 200_000)}`);
  await lake.run('delete from t where id < 20_000; checkpoint');
  const sizes = await lake.rows(`
    select sum(count)::integer as rows from pragma_storage_info('t')
    where column_name = 'id' and segment_type = 'BIGINT' group by row_group_id order by row_group_id`);
  expect(sizes.map(({ rows }) => rows)).toEqual([122_880, 7_130, 30_720, 30_720, 8_550]);
  expect(
    await lake.rows(`
      select count(*) as rows, sum(id)::bigint as ids, count(distinct name) as names,
        count(*) filter (name <> 'row ' || id) as wrong from t`),
  ).toEqual([{ rows: 180_000n, ids: 19_799_910_000n, names: 180_000n, wrong: 0n }]);
  await lake.close();
});

it('a full disk stops the batch, not the lake: it goes on from the checkpoint when there is room', async (context) => {
  await using folder = await lakeFolder();
  const small = path.join(path.dirname(folder.path), 'small');
  await mkdir(small);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', small]);
  if (mounted.status !== 0) context.skip('mounting a small tmpfs needs root');
  try {
    const file = path.join(small, 'lake.duckdb');
    const sink = createDuckdbSink({ path: file });
    await loadBank(sink, await sink.open(), async (transaction) => transaction < 4);
    await writeFile(path.join(small, 'filler'), Buffer.alloc(16)).catch(() => {});
    spawnSync('dd', ['if=/dev/zero', `of=${path.join(small, 'filler')}`, 'bs=64k']);
    const before = await readCheckpoint(file);
    const failure = loadBank(sink, before, async (transaction) => transaction < 2_000);
    await expect(failure).rejects.toMatchObject({
      kind: 'sink-failed',
      message: expect.stringContaining('is full'),
      hint: expect.stringContaining('free space'),
    });
    await sink.close();
    spawnSync('rm', [path.join(small, 'filler')]);
    const next = createDuckdbSink({ path: file });
    await loadBank(next, await next.open(), async (transaction) => transaction < 20);
    await using lake = await openLakeReader(file);
    expect(await lake.rows('select sum(balance)::bigint as total from public.account')).toEqual([
      { total: bankTotal },
    ]);
    await next.close();
  } finally {
    spawnSync('umount', ['-l', small]);
  }
});

async function readCheckpoint(file: string) {
  await using lake = await openLakeReader(file);
  const checkpoint = await lake.checkpoint();
  if (checkpoint === null) throw new Error('the lake has a checkpoint');
  return checkpoint;
}
