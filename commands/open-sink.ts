import { existsSync } from 'node:fs';
import type { SinkConfig } from '../runtime/config.ts';
import { createDuckdbSink } from '../sinks/duckdb/duckdb-sink.ts';
import { evictMember } from '../sinks/duckdb/evict-member.ts';
import { borrowLake, createLeaseOwner } from '../sinks/duckdb/lease.ts';
import { openLakeReader } from '../sinks/duckdb/read-lake.ts';
import type { PositionText } from '../schemas/position.ts';
import type { SinkPause } from '../sinks/run-sink.ts';
import type { Checkpoint, Sink } from '../sinks/sink.ts';
import { FolderMembership } from '../sinks/workers/folder-membership.ts';
import type { MemberRecord, Membership } from '../sinks/workers/membership.ts';

/** How long a sink may take to finish its batch and lend its lake. */
const lendWaitMs = 60_000;

/** What the workers of a configured sink share, and how one of them opens its part. */
export interface SharedSink {
  /** Sets of tables that a worker each can load; 1 where one process has the whole lake. */
  readonly shareCount: number;
  /** Where the workers see each other. */
  readonly membership: Membership;
  /** A share's sink, not opened yet; this process is to own it until it is disposed. */
  readonly openShare: (share: number) => OpenedSink;
  /** Ends a silent worker that still holds the lake on this machine; true when it did. */
  readonly evict: (gone: MemberRecord) => Promise<boolean>;
}

export interface OpenedSink extends Disposable {
  readonly sink: Sink;
  readonly pause: SinkPause;
}

/** The sink that a block of the configuration names. */
export function shareSink(name: string, settings: SinkConfig): SharedSink {
  switch (settings.type) {
    case 'duckdb': {
      const { path, memory } = settings;
      return {
        shareCount: 1,
        // Who can reach the lake's file can reach the folder beside it.
        membership: membersOf(name, settings),
        openShare: () => {
          const owner = createLeaseOwner(path);
          const isReplaced = () => owner.hasRival();
          const sink = createDuckdbSink({ path, memoryBytesMax: memory, isReplaced });
          return { sink, pause: owner, [Symbol.dispose]: () => owner[Symbol.dispose]() };
        },
        evict: (gone) => evictMember(path, gone),
      };
    }
  }
  return settings.type satisfies never;
}

function membersOf(name: string, settings: SinkConfig): Membership {
  switch (settings.type) {
    case 'duckdb':
      return new FolderMembership(`${settings.path}.lease`, name);
  }
  return settings.type satisfies never;
}

/** What the workers of a sink last said of themselves. */
export async function readMembers(
  name: string,
  settings: SinkConfig,
): Promise<readonly MemberRecord[]> {
  const membership = membersOf(name, settings);
  try {
    return await membership.members();
  } finally {
    await membership.close();
  }
}

/** How far a lake is; null when no sink has opened it yet. Throws `sink-locked`. */
export async function readCheckpoint(settings: SinkConfig): Promise<Checkpoint | null> {
  return await withLake(settings, { purpose: 'status' }, async () => {
    if (!existsSync(settings.path)) return null;
    await using lake = await openLakeReader(settings.path);
    return await lake.checkpoint();
  });
}

export interface LakeUse {
  readonly purpose: string;
  /** A running sink first applies exactly up to there. */
  readonly until?: PositionText;
  readonly signal?: AbortSignal;
}

/** Runs `use` while nobody else has the lake's file: a running sink lends it between two batches. */
export async function withLake<T>(
  settings: SinkConfig,
  options: LakeUse,
  use: () => Promise<T>,
): Promise<T> {
  switch (settings.type) {
    case 'duckdb':
      return await borrowLake(settings.path, { ...options, waitMs: lendWaitMs }, use);
  }
  return settings.type satisfies never;
}
