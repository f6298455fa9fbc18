import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readJson } from '../../sinks/bigquery/json-document.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import {
  type BigqueryInstallation,
  createBigqueryInstallation,
} from '../support/bigquery-installation.ts';
import { testServerOf } from '../support/fake-bigquery-harness.ts';
import { jsonTexts, nestedJson } from '../support/json-documents.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

const opened = new AsyncDisposableStack();
let postgres: TestPostgres;
let fake: FakeBigQuery;
beforeAll(async () => {
  postgres = opened.use(await startTestPostgres());
  fake = opened.use(await FakeBigQuery.start());
});
afterAll(() => opened.disposeAsync());

const modes = ['batch', 'stream', 'bigquery-cdc'] as const;
const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;
/** jsonb refuses some of what json takes. */
const tryJsonb = /* sql */ `
  create function try_jsonb(given text) returns jsonb language plpgsql as $$
    begin return given::jsonb; exception when others then return null; end $$;`;

interface Verified {
  readonly exit: number;
  readonly differences: readonly unknown[];
}

async function verify({ shop }: BigqueryInstallation): Promise<Verified> {
  const words = ['verify', '--sink', 'warehouse', '--json'];
  const { exit, stdout, stderr } = await shop.command(words);
  if (stdout === '') throw new Error(stderr);
  const { tables } = JSON.parse(stdout) as {
    tables: { differences: { kind: string; key: string[] }[] }[];
  };
  const differences = tables.flatMap((table) => table.differences);
  return {
    exit,
    differences: differences.map(({ kind, key }) => `${key.join()} ${kind}`).toSorted(),
  };
}

/** A text with zeros in place of the numbers that are not within texts. */
const withoutNumbers = (text: string) =>
  text.replaceAll(/("(?:[^"\\]|\\.)*")|-?\d[\d.e+-]*/g, (_, string?: string) => string ?? '0');

test.each(modes)(
  'documents of every kind are JSON in BigQuery, and verify finds each as it is, mode %s',
  async (mode) => {
    const texts = [...fc.sample(jsonTexts, 150), nestedJson(500), nestedJson(501)];
    const sql = `${tryJsonb}
      create table docs (id integer primary key, plain json, parsed jsonb, list jsonb[]);
      insert into docs select ordinality, given::json, try_jsonb(given), array[try_jsonb(given)]
        from unnest(array[${texts.map(quoted).join(', ')}]::text[]) with ordinality as t (given);
      create publication tributary for all tables;`;
    await using installation = await createBigqueryInstallation(testServerOf(fake), postgres, {
      database: `documents_${mode.replaceAll('-', '_')}`,
      sql,
      settings: `mode: ${mode}, columns: { json: json }`,
    });
    const { shop, warehouse, dataset } = installation;
    await shop.running(async (running) => {
      await running.waitFor(/every table is read/);
      expect(await verify(installation)).toEqual({ exit: 0, differences: [] });
      await shop.sql(
        'update docs set plain = (plain::text || chr(10))::json, parsed = parsed || parsed',
      );
      expect(await verify(installation)).toEqual({ exit: 0, differences: [] });
    });
    const { fields } = fake.store.table({ projectId: 'test', datasetId: dataset, tableId: 'docs' });
    expect(fields.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['INT64', 'JSON', 'JSON', 'JSON']),
    );
    const [counted] = await warehouse.rows(/* sql */ `
      select countif(parsed is not null and _cdc_exact is null) from \`${dataset}\`.docs__changes`);
    expect(Number(counted?.[0])).toBeGreaterThan(0);
    const { rows } = await shop.sql(
      'select parsed::text as text from docs where parsed is not null',
    );
    const fitting = (rows as { text: string }[]).filter(
      ({ text }) => readJson(text).problem === null,
    );
    for (const { text } of fitting) {
      expect(withoutNumbers(readJson(text).canonical)).toBe(withoutNumbers(text));
    }
  },
);

test.each(modes)(
  'a row that BigQuery cannot hold is a dead letter: verify tells, and it comes when it can, mode %s',
  async (mode) => {
    await using installation = await createBigqueryInstallation(testServerOf(fake), postgres, {
      database: `letters_${mode.replaceAll('-', '_')}`,
      sql: /* sql */ `
        create table docs (id integer primary key, day date, note text, doc jsonb);
        alter table docs alter doc set storage external;
        insert into docs values (1, '2024-01-01', 'a', '{}'), (2, 'infinity', 'b', '{}'),
          (3, null, 'c', '{}'), (4, null, 'd', '[1e400]'), (5, null, 'e', '{}');
        create publication tributary for all tables;`,
      settings: `mode: ${mode}, columns: { json: json, overrides: [
        { column: "public.docs.*", unfit: dead_letter }, { column: "*.*.day", unfit: exact_text }] }`,
    });
    const { shop, warehouse, dataset } = installation;
    const letters = async () => {
      const [row] = await warehouse.rows(
        `select count(*), count(distinct seq) from \`${dataset}\`._tributary_dead_letters`,
      );
      expect(row?.[0]).toBe(row?.[1]);
      return Number(row?.[0]);
    };
    await shop.running(async (running) => {
      await running.waitFor(/every table is read/);
      expect(await verify(installation)).toEqual({ exit: 7, differences: ['4 missing-in-lake'] });
      expect(await letters()).toBe(1);
      // Large, so that the update after it leaves the document out.
      const large = `jsonb_build_array(repeat('x', 9000), 100000000000000000001)`;
      await shop.sql(`update docs set doc = ${large}, note = 'large' where id in (1, 5)`);
      await shop.sql(`update docs set note = 'later' where id in (1, 5)`);
      const differences = ['1 columns-differ', '4 missing-in-lake', '5 columns-differ'];
      expect(await verify(installation)).toEqual({ exit: 7, differences });
      expect(await letters()).toBe(5);
      const [kept] = await warehouse.rows(`select note from \`${dataset}\`.docs where id = 1`);
      expect(kept).toEqual(['a']);
      await shop.sql(`delete from docs where id = 5; update docs set id = 6 where id = 4;
        update docs set doc = '{"price": 1.50}' where id in (1, 6)`);
      expect(await verify(installation)).toEqual({ exit: 0, differences: [] });
      expect(await letters()).toBe(6);
    });
  },
);
