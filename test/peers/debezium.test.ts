import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBusiness } from '../../commands/demo/history.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { compareRecords, type Difference } from './compare-records.ts';
import { type PeerPair, type Peers, startPeers } from './debezium-harness.ts';
import { knownDifferences, topicsOfOneSide } from './known-differences.ts';
import { randomDatabase } from './random-database.ts';

/*
 * The real Debezium and our capture stream the same statements out of the same database; what they write
 * is compared byte for byte, the schemas included.
 */

const fixtures = new URL('../fixtures/debezium-3.6.3/', import.meta.url);
/** The sample business has a table of the same name. */
const readSql = async (name: string) =>
  (await readFile(new URL(name, fixtures), 'utf8')).replaceAll('service_event', 'golden_event');
const seed = 20_260_301;
const randomTables = 100;
const random = randomDatabase(seed, randomTables);
/** Statements of the golden run, each of which is a transaction of its own unless it says otherwise. */
const statementsOf = (sql: string): readonly string[] =>
  sql
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');

let peers: Peers;
let written: ReadonlyMap<string, PeerPair>;
beforeAll(async () => {
  let business: Awaited<ReturnType<typeof createBusiness>> | undefined;
  const connected = async (url: string, use: (client: pg.Client) => Promise<void>) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await use(client);
    } finally {
      await client.end();
    }
  };
  peers = await startPeers((url) =>
    connected(url, async (client) => {
      await client.query(await readSql('01_schema_and_snapshot_rows.sql'));
      await client.query(random.setup);
      business = await createBusiness(client, { seed, nowMs: Date.now(), scale: 0.05 });
    }),
  );
  await connected(peers.url, async (client) => {
    for (const statement of statementsOf(await readSql('02_streaming.sql'))) {
      await client.query(statement);
    }
    for (const transaction of random.traffic) await client.query(transaction);
    if (business !== undefined) {
      await runTraffic({ client, business, seconds: 4, transactionsPerSecond: 100 });
    }
  });
  written = await peers.written();
});
afterAll(() => peers?.[Symbol.asyncDispose]());

interface Found extends Difference {
  readonly topic: string;
  readonly index: number;
}

function differencesOf(topics: Iterable<readonly [string, PeerPair]>): readonly Found[] {
  return [...topics].flatMap(([topic, { ours, theirs }]) =>
    ours.flatMap((own, index) => {
      const their = theirs[index];
      if (their === undefined) return [];
      return compareRecords(own, their).map((difference) => ({ ...difference, topic, index }));
    }),
  );
}

/** Its name in DEBEZIUM.md. */
const nameOf = (difference: Difference): string =>
  knownDifferences.find(({ explains }) => explains(difference))?.name ?? 'not listed';

const golden = ['masters', 'golden_event', 'types_zoo', 'defaults_zoo', 'toast_zoo', 'full_zoo'];
const isGolden = (topic: string) =>
  [...golden, 'nopk', 'uniq_idx', 'comp_pk', 'Odd-N_me_1'].some(
    (name) => topic === `app.public.${name}`,
  );
const isRandom = (topic: string) => topic.startsWith('app.public.random_');

describe('beside the real Debezium', () => {
  test.each([
    ['the statements of the golden run', 10, isGolden],
    ['a hundred random tables', 90, isRandom],
    [
      "the sample business's traffic",
      15,
      (topic: string) => !isGolden(topic) && !isRandom(topic) && !topicsOfOneSide.has(topic),
    ],
  ] as const)(
    '%s give the same records, byte for byte but for what is listed',
    (...[, topicsMin, isWanted]) => {
      const topics = [...written].filter(([topic]) => isWanted(topic));
      expect(topics.length).toBeGreaterThanOrEqual(topicsMin);
      expect(topics.map(([topic, { ours }]) => [topic, ours.length])).toEqual(
        topics.map(([topic, { theirs }]) => [topic, theirs.length]),
      );
      expect(
        differencesOf(topics).filter((difference) => nameOf(difference) === 'not listed'),
      ).toEqual([]);
    },
  );

  test('every difference of DEBEZIUM.md occurs, and no other does', async () => {
    const document = await readFile(
      new URL('../../log/kafka/DEBEZIUM.md', import.meta.url),
      'utf8',
    );
    const listed = [...document.matchAll(/^\| ([^|]+) \|/gm)]
      .map(([, name = '']) => name.trim())
      .slice(1);
    const seen = new Set<string>(differencesOf(written).map(nameOf));
    for (const [topic, name] of topicsOfOneSide) {
      if ((written.get(topic)?.theirs.length ?? 0) > 0) seen.add(name);
    }
    const known = [...knownDifferences.map(({ name }) => name), ...topicsOfOneSide.values()];
    expect(known.toSorted()).toEqual(listed.toSorted());
    expect([...seen].toSorted()).toEqual(listed.toSorted());
  });
});
