import type { LakeEngine } from '../lake/plan-evolution.ts';
import { ChangeAppender } from './change-stream.ts';
import type { LakeConnection, LakeOptions } from './client.ts';
import type { PolicyOf } from './column-policy.ts';
import { KeyedState } from './keyed-state.ts';
import type { BigQueryMode } from './permissions.ts';
import type { ShareTables, TakenCheckpoint } from './shared-tables.ts';
import { StateTables } from './state-tables.ts';
import { takePolicy } from './take-policy.ts';
import { openWriteStreams, type WriteStreams } from './write-streams.ts';

/** How changes and rows are written. */
export interface WriteOptions extends LakeOptions {
  /** How columns are kept; documents as STRING and unfit values as exact text when left out. */
  readonly policyOf?: PolicyOf;
  /** Other policies have other texts; empty when left out. */
  readonly policyText?: string;
  /** `batch` when left out. */
  readonly mode?: BigQueryMode;
  /** Host and port of the Storage Write interface; the service's own when left out. */
  readonly storageEndpoint?: string | undefined;
  /** False: mode `bigquery-cdc` writes no `T__changes`. */
  readonly history?: boolean;
  /** Mode `bigquery-cdc`: readers may see rows that are as old, which costs less. */
  readonly maxStalenessMinutes?: number | undefined;
}

/** What an owner works with, from `open` to `close`. */
export interface SinkParts {
  readonly writes: WriteStreams;
  readonly changes: ChangeAppender;
  readonly states: StateTables;
  readonly keyed: KeyedState;
}

export interface PartsOwner extends WriteOptions {
  readonly lake: LakeConnection;
  readonly engine: LakeEngine;
  readonly tables: ShareTables;
  readonly taken: TakenCheckpoint;
  readonly onWritten: () => void;
}

/** Ends what owners before this one append, whatever their mode was, and makes the parts that this mode takes. */
export async function takeParts(given: PartsOwner): Promise<SinkParts> {
  const { lake, engine, tables, taken, mode = 'batch', history = true, policyText = '' } = given;
  const { owner, states, checkpoint } = taken;
  const isKeyed = mode === 'bigquery-cdc';
  const { maxStalenessMinutes, onWritten } = given;
  const staleness = maxStalenessMinutes === undefined ? {} : { maxStalenessMinutes };
  const writes = openWriteStreams(given);
  const way = mode === 'batch' ? 'load' : isKeyed && !history ? 'none' : 'stream';
  const appending = { lake, tables, writes, epoch: checkpoint.epoch };
  const hasStaleness = maxStalenessMinutes !== undefined;
  const takeOver = async () => {
    const appender = await ChangeAppender.takeOver(appending, way);
    await takePolicy({ lake, engine, tables, taken, policyText });
    return appender;
  };
  const changes = await takeOver().catch(async (error: unknown) => {
    await writes.close();
    throw error;
  });
  return {
    writes,
    changes,
    states: new StateTables(
      { lake, engine, tables, epoch: checkpoint.epoch, owner, isKeyed, ...staleness },
      states,
    ),
    keyed: new KeyedState({ lake, writes, hasStaleness, onWritten }),
  };
}
