import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { FakeRegistry } from '../support/fake-registry.ts';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const setup = /* sql */ `
  create table items (id int primary key, note text);
  create table other (id int primary key, note text);
  insert into items select i, 'n' || i from generate_series(1, 100) i;
  insert into other select i, 'o' || i from generate_series(1, 100) i;
  create publication tributary for all tables;`;

interface LogStatus {
  readonly log: { readonly parked: readonly object[]; readonly loading: readonly string[] };
}

async function statusOf(shop: Installation): Promise<LogStatus> {
  return JSON.parse((await shop.command(['status', '--json'])).stdout) as LogStatus;
}

test('a table that the configuration parks is named by status; with evolve it is read again, value for value', async () => {
  await using fake = await FakeRegistry.start();
  await using shop = await Installation.create(server, 'held', setup);
  const registry = (policy: string) =>
    `registry: { type: confluent, url: "${fake.url}", tables: { "public.it*": ${policy} } }`;
  await shop.configure(registry('park'));
  await shop.running(async (running) => {
    await running.waitFor(/every table is read/);
    await shop.verify();
    await shop.sql(`alter table items add column home inet not null default ('10.0.0.' || (random() * 200)::int)::inet;
      delete from items where id < 10; update other set note = 'goes on'`);
    await running.waitFor(/public.items is parked, its changes from position/);
  });
  const { stdout } = await shop.command(['status']);
  expect(stdout).toMatch(
    /^ {2}parked +public\.items +the new schema of app\.public\.items-value is not compatible: rule BACKWARD: .*"home" has no default/m,
  );
  expect((await statusOf(shop)).log.parked).toMatchObject([{ table: 'public.items' }]);
  await shop.configure(registry('evolve'));
  await shop.running(async (running) => {
    await running.waitFor(
      /the registry takes the schema of public.items: reading the parked table again/,
    );
    await running.waitFor(/registered all the same, as schema \d/);
    await vi.waitUntil(
      async () => {
        const { log } = await statusOf(shop);
        return log.parked.length === 0 && log.loading.length === 0;
      },
      { timeout: 60_000, interval: 100 },
    );
    await shop.verify();
  });
  expect((await shop.command(['status'])).stdout).not.toContain('parked');
  expect(await shop.doubledChanges()).toEqual([]);
});
