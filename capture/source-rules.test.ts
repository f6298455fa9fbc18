import { expect, test } from 'vitest';

import { PipelineError } from '../runtime/errors.ts';
import { positionZero } from '../schemas/position.ts';
import type { SlotState } from './postgres/slot.ts';
import type { ProgressRecord } from './progress.ts';
import { judgeSource, type SourceFacts } from './source-rules.ts';

const slot: SlotState = {
  name: 's',
  plugin: 'pgoutput',
  isLogical: true,
  database: 'app',
  activePid: null,
  confirmedLsn: 0x900n,
  restartLsn: 0x800n,
  walStatus: 'reserved',
  invalidation: null,
};
const progress: ProgressRecord = {
  format: 1,
  generation: 1,
  systemId: '7',
  timeline: 1,
  database: 'app',
  slot: 's',
  publicationOid: 5,
  lsn: '0/1000',
  committedAtUs: null,
  snapshot: { tables: {} },
};
const healthy: SourceFacts = {
  system: { systemId: '7', timeline: 1, lsn: 0x2000n, database: 'app' },
  slotName: 's',
  slot,
  publicationName: 'p',
  publicationOid: 5,
  progress,
  highest: '0001/0000000000000F00/00000001/0',
  timelineEnd: null,
};

test.each([
  ['a log and a slot that fit go on', healthy, 'resume'],
  [
    'nothing there yet: the slot is created',
    { ...healthy, slot: null, progress: null, highest: positionZero },
    'create',
  ],
  [
    'a slot that was made beforehand is adopted',
    { ...healthy, progress: null, highest: positionZero },
    'adopt',
  ],
  [
    'a slot whose making was interrupted is adopted',
    { ...healthy, progress: { ...progress, lsn: null }, highest: positionZero },
    'adopt',
  ],
  [
    'a failover after everything that the log holds goes on',
    { ...healthy, system: { ...healthy.system, timeline: 2 }, timelineEnd: 0x1000n },
    'resume',
  ],
] as const)('%s', (...[, facts, decision]) => {
  expect(judgeSource(facts)).toBe(decision);
});

test.each([
  ['a slot that is gone', { slot: null }, 'source-gap', /slot "s" is gone/],
  [
    'a slot ahead of the log',
    { slot: { ...slot, confirmedLsn: 0x1001n } },
    'source-gap',
    /stands at LSN 0\/1001, the log is complete only up to 0\/1000/,
  ],
  [
    'an invalidated slot',
    { slot: { ...slot, invalidation: 'wal_removed' } },
    'source-gap',
    /invalidated by the server \(wal_removed\)/,
  ],
  ['a physical slot', { slot: { ...slot, isLogical: false } }, 'source-unfit', /is physical/],
  [
    'a slot of another plugin',
    { slot: { ...slot, plugin: 'wal2json' } },
    'source-unfit',
    /of plugin wal2json/,
  ],
  [
    'another cluster',
    { system: { ...healthy.system, systemId: '8' } },
    'source-gap',
    /from cluster 7, the source is cluster 8/,
  ],
  ['a publication made anew', { publicationOid: 6 }, 'source-gap', /created again/],
  ['a lost progress record', { progress: null }, 'source-gap', /but no progress record/],
  [
    'a backup older than the log',
    { system: { ...healthy.system, lsn: 0xfffn } },
    'source-gap',
    /restored from a backup/,
  ],
  [
    'a failover that lost what the log holds',
    { system: { ...healthy.system, timeline: 2 }, timelineEnd: 0xeffn },
    'source-gap',
    /from timeline 1 to 2 at LSN 0\/EFF, but the log holds changes up to 0\/1000/,
  ],
  [
    'a timeline that is not in the history',
    { system: { ...healthy.system, timeline: 2 } },
    'source-gap',
    /history does not name/,
  ],
] as const)('%s is refused', (...[, difference, kind, message]) => {
  const judge = (): string => judgeSource({ ...healthy, ...difference });
  expect(judge).toThrow(PipelineError);
  expect(judge).toThrow(expect.objectContaining({ kind, message: expect.stringMatching(message) }));
});
