import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../commands/stack/postgres.ts';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

const ordersSql = /* sql */ `
  create table orders (id int primary key, total numeric(10,2), note text);
  insert into orders select i, i * 1.5, 'old' from generate_series(1, 100) i;
  create publication tributary for all tables;`;
const changeSql = /* sql */ `
  update orders set note = 'new ' || total where id % 3 = 0;
  delete from orders where id % 7 = 0;
  insert into orders select 1 + max(id), 1, 'late' from orders;`;
/** A failure that passes is waited for so long; then the process ends with its exit code. */
const shortPatience = 'retry: { during: 1 s }';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

/** An installation that has run before and was stopped; then the source went on. */
async function stoppedShop(database: string): Promise<Installation> {
  const shop = await Installation.create(server, database, ordersSql);
  await shop.runUntilEqual();
  await shop.sql(changeSql);
  return shop;
}

/** What `run` ended with: exit code and the last lines, which are for people. */
async function failedRun(shop: Installation, url?: string) {
  const { exit, stderr } = await shop.command(['run'], url);
  return { exit, said: stderr.slice(stderr.lastIndexOf('\nerror') + 1) };
}

async function expectOrders(shop: Installation, rows: number): Promise<void> {
  const tables = await shop.runUntilEqual();
  expect(tables).toMatchObject([{ table: 'public.orders', sourceRows: rows, lakeRows: rows }]);
  expect(await shop.doubledChanges()).toEqual([]);
}

describe.concurrent('the source', () => {
  test('a wrong password and an unreachable host end run; the next start loses nothing', async () => {
    await using shop = await stoppedShop('denied');
    await shop.configure(shortPatience);
    const wrong = await failedRun(shop, shop.url.replace(server.password, 'open-sesame'));
    expect(wrong).toEqual({
      exit: 3,
      said: `error: capture: PostgreSQL refused: password authentication failed for user "postgres" (source-denied)
  hint: correct the user or password in source.url
`,
    });
    const nowhere = await failedRun(shop, shop.url.replace(/:\d+\//, ':1/'));
    expect(nowhere).toEqual({
      exit: 3,
      said: `error: capture: cannot reach PostgreSQL: connect ECONNREFUSED 127.0.0.1:1 (source-unreachable)
  hint: check that PostgreSQL runs and listens there
`,
    });
    await expectOrders(shop, 87);
  });

  test('a publication that is missing is named with the SQL that makes it', async () => {
    await using shop = await Installation.create(server, 'unpublished', ordersSql);
    await shop.sql('drop publication tributary');
    expect(await failedRun(shop)).toEqual({
      exit: 3,
      said: `error: capture: publication "tributary" does not exist (source-unfit)
  hint: run: create publication tributary for all tables; or name your tables (\`tributary init\` prints the SQL)
`,
    });
    await shop.sql('create publication tributary for all tables');
    await expectOrders(shop, 100);
  });

  test('a role that may not replicate, then may not read, is told which grant it lacks', async () => {
    await using shop = await Installation.create(server, 'grants', ordersSql);
    await shop.sql(`create role streamer login password 'streamer-word'`);
    const url = shop.url.replace(/\/\/[^@]+@/, '//streamer:streamer-word@');
    const unable = await failedRun(shop, url);
    expect(unable.exit).toBe(3);
    expect(unable.said).toMatch(/^error: capture: PostgreSQL refused: .*\(source-denied\)$/m);
    expect(unable.said).toContain('hint: run as superuser: alter role <role> with replication');
    await shop.sql('alter role streamer with replication');
    expect(await failedRun(shop, url)).toEqual({
      exit: 3,
      said: `error: capture: PostgreSQL lets the role not read public.orders: permission denied for table orders (source-denied)
  hint: grant select on public.orders to the role; with row-level security the role also needs bypassrls
`,
    });
    await shop.sql('grant select on orders to streamer');
    await shop.running(() => shop.verify(url), url);
    expect(await shop.doubledChanges()).toEqual([]);
  });

  test('tables that no pattern matches are refused before anything is made', async () => {
    await using shop = await Installation.create(server, 'misspelt', ordersSql);
    const text = await readFile(shop.configFile, 'utf8');
    await writeFile(shop.configFile, text.replace('public.*', 'public.ordres'));
    expect(await failedRun(shop)).toEqual({
      exit: 3,
      said: `error: capture: publication "tributary" has no table like public.ordres (source-unfit)
  hint: correct source.tables, or publish the tables: \`tributary check\` prints the SQL
`,
    });
    const slots = await shop.sql(
      `select from pg_replication_slots where slot_name = '${shop.database}'`,
    );
    expect(slots.rows).toHaveLength(0);
    const check = await shop.command(['check']);
    expect(check.exit).toBe(3);
    expect(check.stdout).toContain('none matches public.ordres: correct source.tables');
    const init = ['init', '--source', shop.url, '--dir', path.join(shop.dir, 'init')];
    const none = await shop.command([...init, '--tables', 'public.ordres']);
    expect(none.exit).toBe(3);
    expect(none.stderr).toContain('error: database misspelt has no table like public.ordres');
    await shop.configure();
    await expectOrders(shop, 100);
  });

  test('a slot that another process reads is waited for; run goes on when it is free', async () => {
    await using shop = await stoppedShop('taken');
    const other = new pg.Client({
      connectionString: shop.url,
      replication: 'database',
    } as pg.ClientConfig);
    other.on('error', () => undefined);
    await other.connect();
    void other
      .query(
        `START_REPLICATION SLOT ${shop.database} LOGICAL 0/0 (proto_version '1', publication_names 'tributary')`,
      )
      .catch(() => undefined);
    await shop.running(async (running) => {
      await running.waitFor(
        /slot \\"taken\\" is read by process \d+ of the server; waiting for it to go away/,
      );
      const { rows } = await server.run(
        'postgres',
        `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'taken'`,
      );
      expect(rows).toHaveLength(1);
      await running.waitFor(/streaming from LSN/);
      await shop.verify();
    });
    await expectOrders(shop, 87);
  });

  test('wal_level=replica is named with the setting; after a restart run begins', async () => {
    await using resources = new AsyncDisposableStack();
    const small = resources.use(await startTestPostgres({ wal_level: 'replica' }));
    await using shop = await Installation.create(small, 'replica', ordersSql);
    const refused = await failedRun(shop);
    expect(refused.exit).toBe(3);
    expect(refused.said).toMatch(/^error: capture: .*wal_level.*\(source-unfit\)$/m);
    expect(refused.said).toContain('hint: run: alter system set wal_level = logical; then restart');
    await small.stop();
    const { dataDir: dir, port } = small;
    resources.adopt(await startPostgres({ dir, port }), (again) => again.stop('immediate'));
    await expectOrders(shop, 100);
  });

  test('a server that goes away and comes back is waited for', async () => {
    await using resources = new AsyncDisposableStack();
    const restarted = resources.use(await startTestPostgres());
    await using shop = await Installation.create(restarted, 'restarted', ordersSql);
    await shop.configure('retry: { longest: 300 ms }');
    await shop.running(async (running) => {
      await running.waitFor(/every table is read/);
      await shop.sql(changeSql);
      await restarted.stop('immediate');
      await running.waitFor(/cannot reach PostgreSQL.*trying again/);
      const { dataDir: dir, port } = restarted;
      resources.adopt(await startPostgres({ dir, port }), (again) => again.stop('immediate'));
      await running.waitFor(/streaming from LSN(?:.*\n)+.*streaming from LSN/);
      await shop.verify();
    });
    expect(await shop.doubledChanges()).toEqual([]);
  });
});

test('an unknown key and a wrong unit are both named, with line and column, and a way out', async () => {
  await using shop = await Installation.create(server, 'typo', ordersSql);
  await shop.configure('retri: { during: 1 s }\nretry: { first: 5 parsecs }');
  const { exit, stdout, stderr } = await shop.command(['run']);
  expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
  expect(stderr).toBe(`error (config-invalid):
tributary.yaml:6:1: retri: unknown key; did you mean "retry"?
tributary.yaml:7:17: retry.first: "parsecs" is not a unit of time; use one of ms, s, min, h, d
  hint: correct tributary.yaml; \`tributary config --reference\` lists every field
`);
});

describe.concurrent('the log', () => {
  test.skipIf(!canMount())(
    'a full disk under it stops nothing for good: with space run goes on by itself',
    async () => {
      await using shop = await Installation.create(server, 'full', ordersSql);
      const disk = path.join(shop.dir, 'disk');
      await mkdir(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]);
      try {
        await shop.configure('retry: { longest: 300 ms }', './disk/log');
        await shop.running(async (running) => {
          await running.waitFor(/every table is read/);
          await shop.sql(
            `insert into orders select i, 1, repeat(md5(i::text), 30) from generate_series(1000, 12000) i`,
          );
          await running.waitFor(/log \S+log\.sqlite: the disk is full.*free space/);
          execFileSync('mount', ['-o', 'remount,size=256m', disk]);
          await shop.verify();
        });
        expect(await shop.doubledChanges()).toEqual([]);
      } finally {
        await shop.killAll();
        execFileSync('umount', [disk]);
      }
    },
  );

  test('damage is named with the file, and never read over; the file restored, run goes on', async () => {
    await using shop = await stoppedShop('damaged');
    const logFolder = path.dirname(shop.logFile);
    const backup = path.join(shop.dir, 'backup');
    await cp(logFolder, backup, { recursive: true });
    for (const name of ['log.sqlite', 'log.sqlite-wal']) {
      await damage(path.join(logFolder, name));
    }
    const { exit, said } = await failedRun(shop);
    expect(exit).toBe(4);
    expect(said).toMatch(/^error: \w+: log \S+log\.sqlite: .*\(log-corrupt\)$/m);
    expect(said).toContain('hint: restore the log file, or move it away and re-snapshot');
    await rm(logFolder, { recursive: true });
    await cp(backup, logFolder, { recursive: true });
    await expectOrders(shop, 87);
  });
});

describe.concurrent('the lake', () => {
  test('held by another program, it is named with the process; when let go, run goes on', async () => {
    await using shop = await stoppedShop('held');
    const holder = spawn(process.execPath, ['-e', holdScript, shop.lakePath], {
      cwd: path.resolve(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(holder.stdout, 'data');
      await shop.configure(shortPatience);
      const { exit, said } = await failedRun(shop);
      expect(exit).toBe(5);
      const { pid } = holder;
      expect(said).toContain(`error: lake: the lake ${shop.lakePath} is held by process ${pid}; `);
      expect(said).toContain(`(sink-locked)\n  hint: close the program with PID ${pid} `);
      await shop.configure('retry: { longest: 300 ms }');
      await shop.running(async (running) => {
        await running.waitFor(new RegExp(`is held by process ${pid}; new try in`));
        holder.kill('SIGKILL');
        await shop.verify();
      });
      await expectOrders(shop, 87);
    } finally {
      holder.kill('SIGKILL');
    }
  });

  test('damaged, it is refused; deleted, it is loaded anew from the log', async () => {
    await using shop = await stoppedShop('torn');
    await damage(shop.lakePath);
    const { exit, said } = await failedRun(shop);
    expect(exit).toBe(5);
    expect(said).toContain(`error: lake: the lake ${shop.lakePath} cannot be read: `);
    expect(said).toContain(
      '(sink-corrupt)\n  hint: restore the lake file, or delete it to load it anew from the log',
    );
    await rm(shop.lakePath);
    await expectOrders(shop, 87);
  });
});

/** Overwrites the first pages of a file. */
async function damage(file: string): Promise<void> {
  if ((await stat(file).catch(() => null)) === null) return;
  await using handle = await open(file, 'r+');
  await handle.write(Buffer.alloc(16_384, 'damage '), 0, 16_384, 0);
}

/** Another program with the lake open. */
const holdScript = `
  const { DuckDBInstance } = require('@duckdb/node-api');
  DuckDBInstance.create(process.argv[1]).then((lake) => {
    globalThis.lake = lake;
    console.log('held');
  });
  setInterval(() => {}, 1000);`;

function canMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}
