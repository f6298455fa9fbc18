import { appendFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { freePort } from '../../commands/stack/postgres.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import {
  type BigqueryInstallation,
  createBigqueryInstallation,
} from '../support/bigquery-installation.ts';
import { testServerOf } from '../support/fake-bigquery-harness.ts';
import type { VerifiedTable } from '../support/installation.ts';
import { pidOf } from '../support/kafka-installation.ts';
import { metricOf } from '../support/metric-of.ts';
import { pgbenchSql, runPgbench } from '../support/pgbench.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

const accounts = 2_000;
const patience = { timeout: 90_000, interval: 200 };
const sql = `${pgbenchSql(1, accounts)}
  alter table pgbench_history replica identity full;
  create publication tributary for all tables;`;

const opened = new AsyncDisposableStack();
let postgres: TestPostgres;
let fake: FakeBigQuery;
beforeAll(async () => {
  postgres = opened.use(await startTestPostgres());
  fake = opened.use(await FakeBigQuery.start());
});
afterAll(() => opened.disposeAsync());

async function verifyWarehouse({ shop }: BigqueryInstallation): Promise<readonly VerifiedTable[]> {
  const words = ['verify', '--sink', 'warehouse', '--json', '--values'];
  const { exit, stdout, stderr } = await shop.command(words);
  expect(exit, `${stderr}${stdout.slice(0, 4_000)}`).toBe(0);
  return (JSON.parse(stdout) as { tables: VerifiedTable[] }).tables;
}

/** Each change of a table is in the lake at most once, and how many there are. */
async function changesOnce({ warehouse, dataset }: BigqueryInstallation, table: string) {
  const [row] = await warehouse.rows(/* sql */ `
    select count(*), count(distinct concat(cast(_cdc_partition as string), '/',
      cast(_cdc_offset as string))) from \`${dataset}\`.\`${table}__changes\``);
  expect(row?.[0]).toBe(row?.[1]);
  return Number(row?.[0]);
}

test.each([
  ['warehouse_batch', 'shares: 2, labels: { team: data }', [0, 1]],
  ['warehouse_stream', 'mode: stream', [0]],
  ['warehouse_cdc', 'mode: bigquery-cdc', [0]],
])(
  '%s (%s): exactly once, with kill -9 of the sink, verified while writing goes on',
  async (database, settings, shares) => {
    await using installation = await createBigqueryInstallation(testServerOf(fake), postgres, {
      database,
      sql,
      settings,
    });
    const { shop } = installation;
    const port = await freePort();
    await appendFile(shop.configFile, `metrics: { port: ${port} }\n`);
    const ofWarehouse = (name: string, labels?: string) => metricOf(port + 2, name, labels);
    const enough = new AbortController();
    const load = runPgbench(shop.url, { scale: 1, accounts, signal: enough.signal });
    await shop.running(async (running) => {
      await running.waitFor(/every table is read/);
      const changes = () => changesOnce(installation, 'pgbench_history').catch(() => 0);
      await vi.waitUntil(async () => (await changes()) > 20, patience);
      const pid = pidOf(shop, 'sink warehouse');
      process.kill(pid!, 'SIGKILL');
      await vi.waitUntil(() => ![null, pid].includes(pidOf(shop, 'sink warehouse')), patience);
      const before = await changes();
      await vi.waitUntil(async () => (await changes()) > before, patience);
      const verified = await verifyWarehouse(installation);
      expect(verified).toHaveLength(4);
      // The sink has its shares back: verify was only a guest.
      const after = await changes();
      await vi.waitUntil(async () => (await changes()) > after, patience);
      enough.abort();
      expect(await load).toBeGreaterThan(0);
      const status = await shop.command(['status', '--json']);
      expect(
        await ofWarehouse('tributary_sink_jobs_total', 'kind="query",result="done"'),
      ).toBeGreaterThan(0);
      expect(await ofWarehouse('tributary_sink_billed_bytes_total')).toBeGreaterThan(0);
      const pace = 'share="0",limit="changes of a table"';
      expect(await ofWarehouse('tributary_sink_spacing_seconds', pace)).toBeGreaterThanOrEqual(2);
      expect(await shop.command(['check'])).toMatchObject({ exit: 0 });
      expect(JSON.parse(status.stdout)).toMatchObject({
        sinks: {
          warehouse: {
            epoch: expect.any(Number) as number,
            costs: { spacing: { limit: expect.any(String) as string } },
          },
        },
        workers: { warehouse: [{ state: 'loading', shares }] },
      });
      expect(await verifyWarehouse(installation)).toHaveLength(4);
    });
    for (const table of ['accounts', 'branches', 'history', 'tellers']) {
      expect(await changesOnce(installation, `pgbench_${table}`)).toBeGreaterThan(0);
    }
  },
);
