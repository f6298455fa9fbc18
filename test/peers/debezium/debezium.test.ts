import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBusiness, type Business } from '../../../commands/demo/history.ts';
import { createRandom } from '../../../commands/demo/random.ts';
import { runTraffic } from '../../../commands/demo/traffic.ts';
import { startTestKafka, startTestRegistry } from '../../support/kafka.ts';
import { startTestPostgres } from '../../support/postgres.ts';
import { chanceDifferences, compareTopics, type Comparison, listedDifferences } from './compare.ts';
import { missingTool } from '../missing-tool.ts';
import { PeerRun, type PeerServers } from './peer-run.ts';
import { randomTable, randomTraffic } from './random-tables.ts';

// Debezium itself reads the same database as we do; what both wrote must be the same, but for what
// log/kafka/DEBEZIUM.md lists.

/** Fewer with TRIBUTARY_PEER_TABLES, for a quick look. */
const tableCount = Number(process.env['TRIBUTARY_PEER_TABLES'] ?? 100);
const transactionsPerTable = 12;
const seed = 20_260_228;

const missing = await missingTool();

describe.skipIf(missing !== null)(`Debezium (needs ${missing ?? 'nothing more'})`, () => {
  let servers: PeerServers;
  const found = new Set<string>();
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const postgres = stack.use(await startTestPostgres());
    const kafka = stack.use(await startTestKafka());
    const registry = stack.use(await startTestRegistry());
    servers = { postgres, kafka, registry };
  });
  afterAll(() => stack.disposeAsync());

  function expectSame(comparison: Comparison): void {
    for (const difference of comparison.found) found.add(difference);
    // One of each kind says enough.
    const kinds = new Map(
      comparison.unlisted.map((line) => [line.replaceAll(/\d+/g, '').slice(0, 60), line]),
    );
    expect([...kinds.values()].slice(0, 40)).toEqual([]);
  }

  it(`writes what we write for the golden SQL and ${tableCount} random tables`, async () => {
    const random = createRandom(seed);
    const tables = Array.from({ length: tableCount }, (_, number) => randomTable(random, number));
    await using run = await PeerRun.start('golden', servers, async (url) => {
      await execute(url, [
        goldenSql('01_schema_and_snapshot_rows'),
        ...tables.map(({ create }) => create),
      ]);
    });
    for (const line of goldenSql('02_streaming').split('\n')) {
      // Both ask the catalog when a table has changed: it has to be still as the change left it.
      if (line.startsWith('ALTER')) await run.settle();
      if (/^[A-Z]/.test(line)) await run.play([line]);
    }
    await run.play(randomTraffic(random, tables, tableCount * transactionsPerTable));
    const comparison = compareTopics('golden', await run.topics());
    expectSame(comparison);
    expect(comparison.identical).toBeGreaterThan(tableCount * transactionsPerTable);
  });

  it("writes what we write for the sample business's traffic", async () => {
    let business: Business | null = null;
    await using run = await PeerRun.start('business', servers, async (url) => {
      business = await withClient(url, (client) =>
        createBusiness(client, { seed, nowMs: Date.now(), scale: 0.02 }),
      );
    });
    await withClient(servers.postgres.url('business'), (client) =>
      runTraffic({ client, business: business!, seconds: 4, transactionsPerSecond: 60 }),
    );
    const comparison = compareTopics('business', await run.topics());
    expectSame(comparison);
    expect(comparison.identical).toBeGreaterThan(300);
  });

  it('differs in everything that is listed, and the list is what the documentation says', () => {
    for (const chance of chanceDifferences) found.add(chance);
    expect([...found].toSorted()).toEqual([...listedDifferences].toSorted());
    const text = readFileSync(new URL('../../../log/kafka/DEBEZIUM.md', import.meta.url), 'utf8');
    const documented = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, id]) => String(id));
    expect(documented.toSorted()).toEqual([...listedDifferences].toSorted());
  });
});

const goldenSql = (file: string): string =>
  readFileSync(new URL(`../../fixtures/debezium-3.6.3/${file}.sql`, import.meta.url), 'utf8');

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const execute = (url: string, statements: readonly string[]): Promise<void> =>
  withClient(url, async (client) => {
    for (const statement of statements) await client.query(statement);
  });
