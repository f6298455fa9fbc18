import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { vi } from 'vitest';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { type CommandLineResult, runCommandLine } from './command-line.ts';
import type { TestPostgres } from './postgres.ts';
import { type RunningCommand, startCommandLine } from './spawn.ts';

const waitMsMax = 60_000;

/** What `verify --json` says of one table. */
export interface VerifiedTable {
  readonly table: string;
  readonly sourceRows: number;
  readonly lakeRows: number;
  readonly differences: readonly unknown[];
}

/**
 * Tributary as a user has it: a database, a folder with a configuration, and the command line. Every
 * output is searched for the password. Disposing kills what still runs and removes the folder.
 */
export class Installation implements AsyncDisposable {
  readonly server: TestPostgres;
  readonly database: string;
  readonly dir: string;

  private constructor(server: TestPostgres, database: string, dir: string) {
    this.server = server;
    this.database = database;
    this.dir = dir;
  }

  /** Makes the database with these tables, publishes all of them, and writes the configuration. */
  static async create(server: TestPostgres, database: string, sql: string): Promise<Installation> {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-end-to-end-'));
    const installation = new Installation(server, database, dir);
    await server.createDatabase(database);
    await installation.sql(sql);
    await installation.configure();
    return installation;
  }

  get url(): string {
    return this.server.url(this.database);
  }

  get configFile(): string {
    return path.join(this.dir, 'tributary.yaml');
  }

  get lakePath(): string {
    return path.join(this.dir, 'lake.duckdb');
  }

  get logFile(): string {
    return path.join(this.dir, 'log', 'log.sqlite');
  }

  /** Writes tributary.yaml, with more blocks behind it. */
  async configure(more = '', logPath = './log'): Promise<void> {
    const text = `
source: { url: "\${DATABASE_URL}", slot: ${this.database}, tables: ["public.*"] }
log: { type: embedded, path: ${logPath}, prefix: app }
sinks: { lake: { type: duckdb, path: ./lake.duckdb } }
capture: { spool: ./spool }
${more}`;
    await writeFile(this.configFile, text);
  }

  /** Runs statements in the database. */
  sql(text: string) {
    return this.server.run(this.database, text);
  }

  /** Runs a command to its end. */
  async command(words: readonly string[], url = this.url): Promise<CommandLineResult> {
    const result = await runCommandLine([...words, '--config', this.configFile], {
      cwd: this.dir,
      env: { DATABASE_URL: url },
    });
    this.#expectNoSecret(result.stdout + result.stderr, url);
    return result;
  }

  /** Starts `tributary run`. */
  start(url = this.url): RunningCommand {
    const running = startCommandLine(['run', '--config', this.configFile], {
      cwd: this.dir,
      env: { DATABASE_URL: url },
    });
    return {
      ...running,
      stop: async (signal) => {
        const exit = await running.stop(signal);
        this.#expectNoSecret(running.output(), url);
        return exit;
      },
    };
  }

  /** Runs the pipeline while `use` works; then Ctrl-C, a good end, and no process left. */
  async running<T>(use: (running: RunningCommand) => Promise<T>, url = this.url): Promise<T> {
    await using running = this.start(url);
    const tooEarly = running.ended.then((exit) => Promise.reject(new Error(`run ended: ${exit}`)));
    const result = await Promise.race([use(running), tooEarly]).catch((cause: unknown) => {
      throw new Error(`beside this run:\n${running.output()}`, { cause });
    });
    tooEarly.catch(() => undefined);
    assert.equal(await running.stop('SIGINT'), 0, running.output());
    assert.deepEqual(this.processes(), [], 'a process is left');
    return result;
  }

  /** Gives the tables, which are equal in source and lake, value for value; throws what differs. */
  async verify(url = this.url): Promise<readonly VerifiedTable[]> {
    const { exit, stdout, stderr } = await this.command(['verify', '--json', '--values'], url);
    assert.equal(exit, 0, `verify: ${stderr}${stdout.slice(0, 4_000)}`);
    return (JSON.parse(stdout) as { tables: VerifiedTable[] }).tables;
  }

  /** Runs until the lake equals the source, and stops. */
  async runUntilEqual(): Promise<readonly VerifiedTable[]> {
    return this.running(async (running) => {
      await running.waitFor(/streaming from LSN/);
      return await this.verify();
    });
  }

  /** Rows of the lake, when nobody else has it. */
  async lakeRows(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    await using lake = await openLakeReader(this.lakePath);
    return await lake.rows(sql);
  }

  /** Changes that are in the lake more than once: none may be. */
  async doubledChanges(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const tables = await this.lakeRows(/* sql */ `
      select '"' || table_schema || '"."' || table_name || '"' as name from information_schema.tables
      where table_name like '%\\_\\_changes' escape '\\'`);
    assert.notEqual(tables.length, 0);
    const counts = tables.map(
      ({ name }) =>
        `select '${String(name)}' as name, _cdc_seq, count(*)::integer as times from ${String(name)} group by all having count(*) > 1`,
    );
    return this.lakeRows(counts.join(' union all '));
  }

  /** Ids of the processes that work with this configuration. */
  processes(): readonly number[] {
    return execFileSync('ps', ['-A', '-ww', '-o', 'pid=,args='], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(this.configFile))
      .map((line) => Number.parseInt(line, 10))
      .toSorted((left, right) => left - right);
  }

  /** As a power cut: the supervisor and all its roles at once. */
  async killAll(): Promise<void> {
    // Lower ids first: the supervisor would start its roles anew.
    for (const pid of this.processes()) kill(pid);
    await this.untilGone();
  }

  /** Resolves when none of its processes is left. */
  async untilGone(): Promise<void> {
    await vi.waitUntil(() => this.processes().length === 0, { timeout: waitMsMax, interval: 50 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAll();
    await rm(this.dir, { recursive: true, force: true });
  }

  #expectNoSecret(text: string, url: string): void {
    const { password } = new URL(url);
    assert(password === '' || !text.includes(password), 'the password is in the output');
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
