import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { readProgress } from '../../capture/progress.ts';
import { type Config, loadConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { createLogger } from '../../runtime/logger.ts';
import { createRedact, secretsOfUrl } from '../../runtime/redact.ts';
import { parseLsn } from '../../schemas/lsn.ts';
import { cutAfter, type PositionText } from '../../schemas/position.ts';
import { applyStatements, type InitPlan, planInit, writeInitFiles } from '../init/plan.ts';
import { openLogReader } from '../open-log.ts';
import { rolesOf } from '../run.ts';
import { supervise } from '../supervise/supervisor.ts';

const pollMs = 100;
const childGraceMs = 20_000;
const retry = { firstDelayMs: 100, longestDelayMs: 2_000, giveUpAfterMs: 60_000 };

/** What `init --apply` does, in the demo's folder; gives the configuration that it wrote. */
export async function initialise(
  dir: string,
  url: string,
): Promise<{ plan: InitPlan; config: Config }> {
  const session = await openSession({ url });
  try {
    const plan = await planInit(session, { patterns: ['public.*'], role: undefined });
    await writeInitFiles(dir, plan);
    const { refused } = await applyStatements(session, plan.statements);
    const [first] = refused;
    if (first !== undefined)
      throw new PipelineError('setup-failed', `${first.sql}: ${first.message}`);
    return { plan, config: loadConfig(path.join(dir, 'tributary.yaml'), { DATABASE_URL: url }) };
  } finally {
    await closeSession(session);
  }
}

/** Capture and sink, as `tributary run` runs them; their log goes to a file. */
export interface Pipeline {
  /** Rejects with what ended it before it was told to stop. */
  readonly ended: Promise<void>;
  /** What each role said of itself last. */
  readonly says: ReadonlyMap<string, string>;
  /** Drains and ends the processes. */
  stop(): Promise<void>;
}

export interface PipelineOptions {
  readonly config: Config;
  readonly url: string;
  readonly logFile: string;
  /** Also build the models now and then. */
  readonly withModels: boolean;
}

export function startPipeline(options: PipelineOptions): Pipeline {
  const { config, url, logFile, withModels } = options;
  const stream = createWriteStream(logFile, { flags: 'a' });
  const redact = createRedact(secretsOfUrl(url));
  const enough = new AbortController();
  const says = new Map<string, string>();
  const running = supervise({
    roles: rolesOf(config, 'info').filter(({ role }) => withModels || role !== 'models'),
    env: { ...process.env, DATABASE_URL: url },
    logger: createLogger({ level: 'info', format: 'json', redact, stream }),
    signal: enough.signal,
    graceMs: childGraceMs,
    retry,
    onProgress: (role, text) => says.set(role, text),
  });
  running.catch(() => undefined);
  return {
    ended: running.then(() => {
      if (!enough.signal.aborted)
        throw new PipelineError('role-broken', 'the pipeline ended by itself');
    }),
    says,
    stop: async () => {
      enough.abort();
      await running;
      stream.end();
      await once(stream, 'close');
    },
  };
}

/** Resolves when capture reads its slot: what is written from now on comes through the stream. */
export async function untilStreaming(client: pg.ClientBase, slot: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      'select from pg_replication_slots where slot_name = $1 and active',
      [slot],
    );
    if (rows.length > 0) return;
    await pause(pollMs);
  }
}

/** The cut that holds everything that has committed at the source by now. */
export async function currentCut(client: pg.ClientBase, config: Config): Promise<PositionText> {
  const log = await openLogReader(config);
  try {
    const progress = await readProgress(log, config.log.prefix);
    const { rows } = await client.query<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    return cutAfter(progress?.generation ?? 1, parseLsn(rows[0]?.lsn ?? '0/0') - 1n);
  } finally {
    await log.close();
  }
}

/** Resolves with the rows read when every table's snapshot is done. */
export async function untilSnapshotIsDone(config: Config): Promise<number> {
  for (;;) {
    const progress = await openLogReader(config).then(
      async (log) => {
        try {
          return await readProgress(log, config.log.prefix);
        } finally {
          await log.close();
        }
      },
      // Capture has not made the log yet.
      () => null,
    );
    const tables = Object.values(progress?.snapshot.tables ?? {});
    const rows = tables.reduce((sum, table) => sum + table.rowsRead, 0);
    if (tables.length > 0 && tables.every(({ done }) => done)) return rows;
    await pause(pollMs);
  }
}
