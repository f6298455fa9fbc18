import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findJava } from '../../commands/stack/java.ts';
import { loadConfig } from '../../runtime/config.ts';
import { isAlive } from '../support/is-alive.ts';
import {
  consumeValues,
  createTestTopic,
  plainClient,
  produceValues,
} from '../support/kafka-client.ts';
import { runCommandLine } from '../support/command-line.ts';
import { type RunningCommand, startCommandLine } from '../support/spawn.ts';

/** `npm run stack` as a user meets it: a process of its own, told to end by Ctrl-C. */
const patience = { timeout: 30_000 };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-stack-'));
  // As root PostgreSQL runs as another user, who has to get through.
  await chmod(dir, 0o755);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

interface Answer {
  readonly configuration: string;
  readonly postgres: string;
  readonly brokers: readonly string[];
  readonly registry: string;
}

async function startStack(): Promise<{ command: RunningCommand; answer: Answer }> {
  const command = startCommandLine(['stack', '--dir', '.', '--json'], { cwd: dir });
  await command.waitFor(/^\{.*\}$/m);
  const answer = JSON.parse(/^\{.*\}$/m.exec(command.output())?.[0] ?? '') as Answer;
  return { command, answer };
}

/** Everything with the folder in its command line, and PostgreSQL's own note of itself. */
async function serversOf(folder: string): Promise<readonly number[]> {
  const files = ['kafka/node-1/server.pid', 'registry/server.pid', 'postgres/postmaster.pid'];
  const texts = await Promise.all(
    files.map((file) => readFile(path.join(folder, file), 'utf8').catch(() => '')),
  );
  return texts.map((text) => Number.parseInt(text, 10));
}

async function sql(url: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

test('serves SQL, records and schemas, ends with Ctrl-C, and keeps all of it for the next start', async () => {
  const first = await startStack();
  await using _first = first.command;
  const { answer } = first;
  await sql(
    answer.postgres,
    `create table public.orders (id int primary key); insert into public.orders values (7)`,
  );
  expect((await sql(answer.postgres, 'select tablename from pg_publication_tables')).rows).toEqual([
    { tablename: 'orders' },
  ]);
  await createTestTopic(plainClient(answer.brokers), 'orders');
  await produceValues(plainClient(answer.brokers), 'orders', ['kept']);
  const registered = await fetch(`${answer.registry}/subjects/orders-value/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: '"string"' }),
  });
  const { id } = (await registered.json()) as { id: number };
  const config = loadConfig(answer.configuration, {});
  expect(config.source.url).toBe(answer.postgres);
  expect(config.log).toMatchObject({ type: 'kafka', brokers: answer.brokers });
  expect(config.registry).toMatchObject({ type: 'confluent', url: answer.registry });
  const servers = await serversOf(dir);
  expect(servers.map(isAlive)).toEqual([true, true, true]);
  expect(await first.command.stop('SIGINT')).toBe(0);
  expect(servers.map(isAlive)).toEqual([false, false, false]);

  const second = await startStack();
  await using _second = second.command;
  expect(second.answer).toEqual(answer);
  expect((await sql(answer.postgres, 'select id from public.orders')).rows).toEqual([{ id: 7 }]);
  expect(await consumeValues(plainClient(answer.brokers), 'orders', 1)).toEqual(['kept']);
  const schema = await fetch(`${answer.registry}/schemas/ids/${id}`);
  expect(await schema.json()).toMatchObject({ schema: '"string"' });
  expect(await readFile(answer.configuration, 'utf8')).toContain(answer.registry);
  expect(await second.command.stop('SIGTERM')).toBe(0);
});

/** Runs the pipeline on the configuration as the stack wrote it, until source and lake are equal. */
async function loadUntilEqual(configuration: string, ready: RegExp): Promise<void> {
  await using pipeline = startCommandLine(['run', '--config', configuration], { cwd: dir });
  await pipeline.waitFor(ready);
  const { exit, stdout, stderr } = await runCommandLine(['verify', '--config', configuration]);
  expect({ exit, stdout }, stderr).toEqual({
    exit: 0,
    stdout: expect.stringMatching(/public\.orders +\d rows +equal/),
  });
  expect(await pipeline.stop('SIGINT')).toBe(0);
}

test('the configuration that it writes runs as it is, and goes on after a restart of the stack', async () => {
  const first = await startStack();
  await using _first = first.command;
  const { postgres, configuration } = first.answer;
  await sql(postgres, 'create table public.orders (id int primary key, note text)');
  await sql(postgres, `insert into public.orders values (1, 'one'), (2, 'two')`);
  await loadUntilEqual(configuration, /every table is read/);
  expect(await first.command.stop('SIGINT')).toBe(0);

  const second = await startStack();
  await using _second = second.command;
  await sql(postgres, `update public.orders set note = 'three' where id = 2`);
  await loadUntilEqual(configuration, /streaming from LSN/);
  expect(await second.command.stop('SIGINT')).toBe(0);
});

test('a second Ctrl-C ends at once and leaves no server; a server that dies ends the stack', async () => {
  const hasty = await startStack();
  await using _hasty = hasty.command;
  const servers = await serversOf(dir);
  const another = await runCommandLine(['stack', '--dir', dir]);
  expect(another).toMatchObject({ exit: 6, stderr: expect.stringContaining('runs a stack in') });
  // Frozen, PostgreSQL cannot end in good order.
  process.kill(servers[2] ?? 0, 'SIGSTOP');
  process.kill(hasty.command.pid, 'SIGINT');
  await hasty.command.waitFor(/SIGINT: finishing/);
  await expect.poll(() => servers.slice(0, 2).map(isAlive), patience).toEqual([false, false]);
  process.kill(hasty.command.pid, 'SIGINT');
  expect(await hasty.command.ended).toBe(130);
  expect(hasty.command.output()).toMatch(/stopped without finishing/);
  await expect.poll(() => servers.map(isAlive), patience).toEqual([false, false, false]);

  const robbed = await startStack();
  await using _robbed = robbed.command;
  const [, registry = 0] = await serversOf(dir);
  process.kill(registry, 'SIGKILL');
  expect(await robbed.command.ended).toBe(6);
  expect(robbed.command.output()).toMatch(/the schema registry ended by itself/);
  expect((await serversOf(dir)).filter((pid) => pid > 0).map(isAlive)).not.toContain(true);
});

test('without Maven the first start says what to install', async () => {
  const java = await findJava(21);
  const empty = path.join(dir, 'empty');
  await mkdir(empty);
  const { exit, stderr } = await runCommandLine(['stack', '--dir', path.join(dir, 'stack')], {
    env: {
      PATH: empty,
      JAVA_HOME: path.dirname(path.dirname(java.path)),
      TRIBUTARY_CACHE: path.join(dir, 'cache'),
    },
  });
  expect(exit).toBe(6);
  expect(stderr).toMatch(/Maven \(mvn\) could not be started/);
  expect(stderr).toMatch(/hint: install Maven/);
});
