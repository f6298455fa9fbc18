import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Installation } from '../support/installation.ts';
import { pgbenchSql, runPgbench } from '../support/pgbench.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

/** Big enough that reading it takes several chunks: kills and Ctrl-C meet the snapshot under way. */
const accounts = 60_000;
const size = { scale: 1, accounts };
const tables = ['accounts', 'branches', 'history', 'tellers'].map(
  (name) => `public.pgbench_${name}`,
);
const killRounds = 6;
const waitMsMax = 60_000;
/** A process that stops at once still has to end. */
const stopMsMax = 5_000;

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

/** pgbench's tables with its load running; afterwards source and lake are equal and nothing is there twice. */
async function underLoad(
  database: string,
  use: (installation: Installation) => Promise<void>,
): Promise<void> {
  await using installation = await Installation.create(
    server,
    database,
    `${pgbenchSql(1, accounts)}
     alter table pgbench_history replica identity full;
     create publication tributary for all tables;`,
  );
  const enough = new AbortController();
  const load = runPgbench(installation.url, { ...size, signal: enough.signal });
  try {
    await use(installation);
  } finally {
    enough.abort();
    expect(await load).toBeGreaterThan(0);
  }
  const verified = await installation.runUntilEqual();
  expect(verified.map(({ table }) => table).toSorted()).toEqual(tables);
  expect(await installation.doubledChanges()).toEqual([]);
}

test('Ctrl-C in the middle of the snapshot, of the stream and of a batch ends cleanly; the next start goes on', async () => {
  await underLoad('interrupted', async (installation) => {
    await installation.running((running) => running.waitFor(/starting/));
    await installation.running(async (running) => {
      await running.waitFor(/streaming from LSN/);
      expect(running.output()).not.toMatch(/every table is read/);
    });
    await installation.running(async (running) => {
      await running.waitFor(/every table is read/);
      const before = await history(installation);
      await vi.waitUntil(async () => (await history(installation)) > before + 50, {
        timeout: waitMsMax,
      });
    });
    // A lake that has all of it to load is in its first batch as soon as it is open.
    await rm(installation.lakePath);
    await installation.running((running) => running.waitFor(/lake goes on after/));
  });
});

test('kill -9 of everything at random moments loses nothing and doubles nothing', async () => {
  await underLoad('killed', async (installation) => {
    let killsBeforeAllIsRead = 0;
    for (let round = 0; round < killRounds; round += 1) {
      await using running = installation.start();
      await running.waitFor(/streaming from LSN/);
      // The first ones meet the snapshot, the later ones stream and batches.
      await sleep(100 + round * Math.random() * 600);
      if (!running.output().includes('every table is read')) killsBeforeAllIsRead += 1;
      await installation.killAll();
    }
    expect(killsBeforeAllIsRead).toBeGreaterThan(0);
  });
});

test('a second Ctrl-C stops at once with exit code 130, and the next start goes on', async () => {
  await underLoad('impatient', async (installation) => {
    await using running = installation.start();
    await running.waitFor(/streaming from LSN/);
    // A drain that cannot end by itself: the role that is told to stop does not run.
    const [supervisor, ...roles] = installation.processes();
    expect(supervisor).toBe(running.pid);
    for (const role of roles) process.kill(role, 'SIGSTOP');
    process.kill(running.pid, 'SIGINT');
    await running.waitFor(/SIGINT: finishing what is in hand \(once more stops at once\)/);
    // Within 300 ms it would count as the same press, which a terminal sends to the whole group.
    await sleep(400);
    const pressed = performance.now();
    expect(await running.stop('SIGINT')).toBe(130);
    expect(performance.now() - pressed).toBeLessThan(stopMsMax);
    expect(running.output()).toMatch(/SIGINT: stopped without finishing/);
    await installation.untilGone();
  });
});

async function history(installation: Installation): Promise<number> {
  const { rows } = await installation.sql('select count(*)::int as rows from pgbench_history');
  return (rows[0] as { rows: number }).rows;
}
