import { expect, it } from 'vitest';
import { positionZero } from '../../schemas/position.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { bankChangeCount, bankTotal, loadBank } from '../support/bank.ts';
import { DuckdbProcess, lakeFolder } from '../support/duckdb-process.ts';

const killCount = 8;

/** Transactions below a position. */
const transactionsAt = (applied: string) =>
  applied === positionZero ? 0 : Number(BigInt(`0x${applied.slice(5, 21)}`) / 4096n);

async function expectAgreement(path: string): Promise<number> {
  await using lake = await openLakeReader(path);
  const { applied } = (await lake.checkpoint()) ?? { applied: positionZero };
  const done = transactionsAt(applied);
  const [found] = await lake.rows(/* sql */ `
    select (select count(*) from public.account__changes) as changes,
      (select count(distinct _cdc_seq) from public.account__changes) as positions,
      (select coalesce(max(_cdc_seq), '') from public.account__changes) as newest,
      (select coalesce(sum(row_count), 0)::bigint from tributary._tributary_commits) as booked,
      (select count(*) from tributary._tributary_watermarks) as cuts,
      (select coalesce(sum(balance), 0)::bigint from public.account) as total`);
  expect(found).toMatchObject({
    changes: BigInt(bankChangeCount(done)),
    positions: BigInt(bankChangeCount(done)),
    booked: BigInt(bankChangeCount(done)),
    cuts: BigInt(done),
    total: done === 0 ? 0n : bankTotal,
  });
  expect(String(found?.['newest']) <= applied).toBe(true);
  return done;
}

it('rows, ledger and checkpoint agree after every kill -9 in the middle of loading', async () => {
  await using folder = await lakeFolder();
  let before = 0;
  for (let kill = 0; kill < killCount; kill += 1) {
    await using loader = new DuckdbProcess('load', folder.path);
    await loader.line(new RegExp(`^applied ${before + 1 + kill * 3}$`));
    await new Promise((resolve) => setTimeout(resolve, (kill * 7) % 40));
    await loader.kill();
    const done = await expectAgreement(folder.path);
    // What the loader said was applied is there.
    const said = Number(loader.lines.at(-1)?.split(' ')[1]);
    expect(done).toBeGreaterThanOrEqual(said);
    before = done;
  }
  const sink = createDuckdbSink({ path: folder.path });
  await loadBank(sink, await sink.open(), async (transaction) => transaction < before + 5);
  await sink.close();
  expect(await expectAgreement(folder.path)).toBe(before + 5);
});
