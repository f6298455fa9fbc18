import { expect, it } from 'vitest';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { borrowLake, createLeaseOwner, type LeaseOwner } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import type { Sink } from '../../sinks/sink.ts';
import { bankTotal, loadBank } from '../support/bank.ts';
import { DuckdbProcess, lakeFolder } from '../support/duckdb-process.ts';

/** Loads transfers and lends between them until `isDone`; gives how often it lent. */
async function loadAndLend(
  sink: Sink,
  owner: LeaseOwner,
  isDone: (lent: number, transaction: number) => boolean,
): Promise<number> {
  let lent = 0;
  let from = await sink.open();
  for (;;) {
    let last = 0;
    from = await loadBank(sink, from, async (transaction) => {
      last = transaction;
      return owner.requested() === null && !isDone(lent, transaction);
    });
    if (owner.requested() === null) return lent;
    await sink.lend(() => owner.run(from.applied));
    lent += 1;
    if (isDone(lent, last)) return lent;
  }
}

it('another process borrows the lake between two batches and gives it back', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path);
  const sink = createDuckdbSink({ path: folder.path });
  await using borrower = new DuckdbProcess('borrow', folder.path);
  const loading = loadAndLend(
    sink,
    owner,
    (lent, transaction) => lent > 0 && transaction % 10 === 0,
  );
  expect(await borrower.line(/^borrowed/)).toMatch(/^borrowed 0001\//);
  borrower.tell('enough');
  await borrower.line(/^given back$/);
  expect(await loading).toBe(1);
  await using lake = await openLakeReader(folder.path);
  expect(await lake.rows('select count(*) as n from main.made_by_borrower')).toEqual([{ n: 0n }]);
  await sink.close();
});

it('who waits too long for a lake that is lent is told to whom', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path);
  const sink = createDuckdbSink({ path: folder.path });
  await using borrower = new DuckdbProcess('borrow', folder.path);
  const loading = loadAndLend(sink, owner, (lent) => lent > 0);
  await borrower.line(/^borrowed/);
  const second = borrowLake(folder.path, { purpose: 'second', waitMs: 100 }, async () => 'had it');
  await expect(second).rejects.toMatchObject({
    kind: 'sink-locked',
    message: `the lake ${folder.path} is lent to process ${borrower.pid} (test), which did not give it back within 0.1 s`,
  });
  borrower.tell('enough');
  await loading;
  await sink.close();
});

it('the owner takes the lake back from a borrower that died', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path);
  const sink = createDuckdbSink({ path: folder.path });
  await using borrower = new DuckdbProcess('borrow', folder.path);
  const loading = loadAndLend(sink, owner, (lent, transaction) => lent > 0 && transaction > 30);
  await borrower.line(/^borrowed/);
  await borrower.kill();
  expect(await loading).toBe(1);
  expect(owner.requested()).toBeNull();
  await using lake = await openLakeReader(folder.path);
  const rows = await lake.rows('select sum(balance)::bigint as total from public.account');
  expect(rows).toEqual([{ total: bankTotal }]);
  await sink.close();
});

it('a borrower that overstays is asked by DuckDB, and named', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path, { leaseMsMax: 200 });
  const sink = createDuckdbSink({ path: folder.path, reopenMsMax: 300 });
  await using borrower = new DuckdbProcess('borrow', folder.path);
  const loading = loadAndLend(sink, owner, (lent) => lent > 0);
  await expect(loading).rejects.toMatchObject({
    kind: 'sink-locked',
    context: { holderPid: borrower.pid },
  });
  borrower.tell('enough');
  await borrower.line(/^given back$/);
  await sink.open();
  await sink.close();
});

it('a borrower gets the lake at once when no sink runs, and gives up on one that never lends', async () => {
  await using folder = await lakeFolder();
  const alone = { purpose: 'test', waitMs: 5_000 };
  expect(await borrowLake(folder.path, alone, async (grant) => grant)).toBeNull();
  using _owner = createLeaseOwner(folder.path);
  const waiting = borrowLake(folder.path, { purpose: 'test', waitMs: 200 }, async () => 'had it');
  await expect(waiting).rejects.toMatchObject({
    kind: 'sink-locked',
    message: expect.stringContaining(`sink process ${process.pid}`),
  });
});

it('a borrower asks for a position and gets it exactly', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path);
  const until = '0001/0000000000005000/FFFFFFFF/2';
  const borrowed = borrowLake(
    folder.path,
    { purpose: 'verify', until, waitMs: 10_000 },
    async (grant) => grant?.applied,
  );
  const sink = createDuckdbSink({ path: folder.path });
  const checkpoint = await loadBank(
    sink,
    await sink.open(),
    // The fifth transaction ends there.
    async (transaction) => transaction < 5 || owner.requested() === null,
  );
  expect(owner.requested()).toEqual({ until });
  await sink.lend(() => owner.run(checkpoint.applied));
  expect(await borrowed).toBe(until);
  await sink.close();
});

it('a borrower decides on the position while the owner stands still, and gets it exactly', async () => {
  await using folder = await lakeFolder();
  using owner = createLeaseOwner(folder.path);
  const sink = createDuckdbSink({ path: folder.path });
  const stoodAt = Promise.withResolvers<string>();
  const until = '0001/0000000000007000/FFFFFFFF/2';
  const decide = async () => {
    await using lake = await openLakeReader(folder.path);
    stoodAt.resolve((await lake.checkpoint())?.applied ?? 'nowhere');
    return until;
  };
  const borrowed = borrowLake(
    folder.path,
    { purpose: 'verify', until: decide, waitMs: 10_000 },
    async (grant) => grant?.applied,
  );
  const isAsked = async () => owner.requested() === null;
  const standing = await loadBank(sink, await sink.open(), isAsked);
  await sink.lend(() => owner.run(standing.applied));
  expect(await stoodAt.promise).toBe(standing.applied);
  // The second request was there before the first was taken away.
  expect(owner.requested()).toEqual({ until });
  const there = await loadBank(sink, standing, async (transaction) => transaction < 7);
  await sink.lend(() => owner.run(there.applied));
  expect(await borrowed).toBe(until);
  await sink.close();
});

it('an owner that was replaced while it lent changes nothing any more', async () => {
  await using folder = await lakeFolder();
  const zombie = createDuckdbSink({ path: folder.path });
  const checkpoint = await loadBank(
    zombie,
    await zombie.open(),
    async (transaction) => transaction < 5,
  );
  const lending = zombie.lend(async () => {
    const successor = createDuckdbSink({ path: folder.path });
    await loadBank(successor, await successor.open(), async (transaction) => transaction < 9);
    await successor.close();
  });
  await expect(lending).rejects.toMatchObject({ kind: 'sink-fenced' });
  // It does not keep the file from the new owner either.
  await using borrower = new DuckdbProcess('borrow', folder.path);
  await borrower.line(/^borrowed directly$/);
  await borrower.kill();
  const late = loadBank(zombie, checkpoint, async () => true);
  await expect(late).rejects.toMatchObject({ kind: 'sink-fenced' });
  await zombie.close();
  await using lake = await openLakeReader(folder.path);
  expect((await lake.checkpoint())?.applied).toBe('0001/0000000000009000/FFFFFFFF/2');
});

it('a reader beside the sink finds the sum of all accounts unchanged at every look', async () => {
  await using folder = await lakeFolder();
  const sink = createDuckdbSink({ path: folder.path });
  let isLoading = true;
  const loading = loadBank(
    sink,
    await sink.open(),
    async (transaction) => transaction < 120,
  ).finally(() => {
    isLoading = false;
  });
  await using lake = await openLakeReader(folder.path);
  let looks = 0;
  while (isLoading) {
    const tables = await lake.rows(
      `select 1 from information_schema.tables where table_name = 'account'`,
    );
    if (tables.length === 0) continue;
    const [row] = await lake.rows(
      'select count(*) as accounts, sum(balance)::bigint as total from public.account',
    );
    if (row?.['accounts'] === 0n) continue;
    expect(row?.['total']).toBe(bankTotal);
    looks += 1;
  }
  await loading;
  expect(looks).toBeGreaterThan(10);
  await sink.close();
});
