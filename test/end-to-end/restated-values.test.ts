import { afterAll, beforeAll, expect, test } from 'vitest';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const types = {
  span: 'interval',
  moment: 'timetz',
  flag: 'bit(1)',
  mask: 'bit(9)',
  loops: 'varbit',
  price: 'money',
  place: 'point',
  doc: 'xml',
  words: 'tsvector',
  pairs: 'hstore',
  path: 'ltree',
};
const samples = [
  `'1 mon', '12:00:00+02', B'1', B'000000001', B'0011', '-1234.5', '(1.50,-0)', '<a> é</a>', 'a b:2', 'b=>NULL, a=>"x y"', 'a.b'`,
  `'30.4375 days', '24:00:00-08', B'0', B'000000000', B'', '0', '(1e300,NaN)', '<b/>', '', '', ''`,
  `null, null, null, null, null, null, null, null, null, null, null`,
  `'-00:00:00.000001', '12:00:00.10+05:53:28', B'1', B'111111111', B'1', '92233720368547758.07', '(0,Infinity)', '', '''q''', '"\\\\"=>"\\""', 'z'`,
];
const columns = Object.entries(types);
const sql = /* sql */ `
  create extension hstore;
  create extension ltree;
  create table loose (id int primary key, ${columns.map(([name, type]) => `${name} ${type}`).join(', ')});
  create table tight (span interval, mask bit(9), ${columns
    .filter(([name]) => !['span', 'mask'].includes(name))
    .map(([name, type]) => `${name} ${type} not null`)
    .join(', ')}, primary key (span, mask));
  create table keyless (moment timetz, price money);
  alter table keyless replica identity full;
  ${samples.map((values, index) => `insert into loose values (${index}, ${values})`).join(';')};
  create publication tributary for all tables;`;

test('values that Debezium states anew reach the lake as PostgreSQL writes them', async () => {
  await using shop = await Installation.create(server, 'restated', sql);
  await shop.running(async (running) => {
    await running.waitFor(/every table is read/);
    await shop.sql(`
      ${samples.map((values, index) => `insert into loose values (${index + 10}, ${values})`).join(';')};
      insert into tight select span, mask, moment, flag, loops, price, place, doc, words, pairs, path from loose where span is not null and id < 10;
      update tight set span = span * 2 where mask = B'000000001';
      delete from tight where mask = B'111111111';
      update loose set moment = null, span = '2 mons' where id = 10;
      insert into keyless select moment, price from loose;
      delete from keyless where price is null;
      delete from loose where id = 11`);
    await shop.verify();
  });
  const rows = await shop.lakeRows(
    'select span, moment, mask, price from public.tight order by mask',
  );
  expect(rows).toEqual([
    { span: '30 days 10:30:00', moment: '24:00:00-08', mask: '000000000', price: '$0.00' },
    { span: '2 mons', moment: '12:00:00+02', mask: '000000001', price: '-$1,234.50' },
  ]);
  expect(await shop.doubledChanges()).toEqual([]);
});
