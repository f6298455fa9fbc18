import { afterAll, beforeAll, expect, test } from 'vitest';
import { readTables } from '../../capture/postgres/catalog.ts';
import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres[Symbol.asyncDispose]());

const dropsMin = 150;

test('tables that are dropped while the catalog is read are there whole or not at all', async () => {
  const url = await postgres.createDatabase('dropping');
  await postgres.run('dropping', 'create publication p for all tables');
  const enough = new AbortController();
  let drops = 0;
  const drop = async (name: string) => {
    while (!enough.signal.aborted) {
      await postgres.run('dropping', `create table ${name} (id int primary key, note text)`);
      await postgres.run('dropping', `drop table ${name}`);
      drops += 1;
    }
  };
  const dropping = Promise.all([drop('first'), drop('second')]);
  const session = await openSession({ url });
  let tableCount = 0;
  try {
    while (drops < dropsMin) {
      const publication = await readPublication(session, 'p');
      const oids = publication?.tables.map(({ oid }) => oid) ?? [];
      for (const table of await readTables(session, oids)) {
        tableCount += 1;
        expect(table).toMatchObject({
          columns: [{ name: 'id' }, { name: 'note' }],
          primaryKey: ['id'],
        });
      }
    }
  } finally {
    enough.abort();
    await dropping;
    await closeSession(session);
  }
  expect(tableCount).toBeGreaterThan(0);
});
