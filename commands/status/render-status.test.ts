import { expect, test } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import { reportError } from '../../runtime/report-error.ts';
import { renderStatus } from './render-status.ts';

test('each stage is a block, each position a line', () => {
  const text = renderStatus({
    source: {
      lsn: '16/B374D848',
      slot: {
        name: 'shop',
        isActive: true,
        walStatus: 'extended',
        confirmedLsn: '16/B374D000',
        unconfirmedBytes: 2120,
        retainedBytes: 52_428_800,
      },
    },
    log: {
      tables: 14,
      records: 1_234_567,
      watermarkLsn: '16/B374D848',
      committedAt: '2026-01-02T03:04:05.678Z',
      watermarkAt: '2026-01-02T03:04:06.000Z',
      behindBytes: 0,
      loading: ['public.orders', 'public.events'],
      parked: [{ table: 'public.stock', since: '', reason: 'rule BACKWARD' }],
    },
    sinks: {
      lake: {
        epoch: 3,
        applied: '',
        appliedLsn: '16/B3700000',
        behindBytes: 317_512,
        committedAt: '2026-01-02T03:04:04.178Z',
        behindMs: 1_500,
        costs: {
          lastHour: {
            batches: 40,
            loads: 12,
            bytesProcessed: 1,
            bytesBilled: 10 * 1024 ** 3,
            bytesPerBatch: 256 * 1024 ** 2,
          },
          lastDay: {
            batches: 900,
            loads: 300,
            bytesProcessed: 1,
            bytesBilled: 1,
            bytesPerBatch: 1,
          },
          spacing: { ms: 90_000, limit: 'budget' },
        },
      },
      other: {
        epoch: 0,
        applied: '',
        appliedLsn: '0/0',
        behindBytes: null,
        committedAt: null,
        behindMs: null,
        costs: null,
      },
    },
    workers: {
      lake: [
        { host: 'one', pid: 4711, state: 'loading', shares: [0], seenMsAgo: 200 },
        { host: 'one', pid: 4712, state: 'loading', shares: [1, 2], seenMsAgo: 200 },
        { host: 'two', pid: 17, state: 'standby', shares: [], seenMsAgo: 900 },
        { host: 'two', pid: 18, state: 'silent', shares: [], seenMsAgo: 12_300 },
        { host: 'one', pid: 12, state: 'ended', shares: [], seenMsAgo: 5_000 },
      ],
    },
  });
  expect(text).toMatchInlineSnapshot(`
    "source
      WAL end     16/B374D848
      confirmed   16/B374D000       2.1 KiB behind
      slot        shop              in use, keeps 50 MiB of WAL, WAL extended
    log
      watermark   16/B374D848       0 B behind, newest commit 2026-01-02T03:04:05.678Z, written 2026-01-02T03:04:06.000Z
      holds       14 tables         1,234,567 records
      first load  2 to go           public.orders, public.events
      parked      public.stock      rule BACKWARD
    sink lake
      applied     16/B3700000       310.1 KiB behind, 1.5 s of commits, newest commit 2026-01-02T03:04:04.178Z
      cost        10 GiB            billed in the last hour, 256 MiB a batch; 40 batches, 12 loads (300 in a day)
      waits       1.5 min           between batches: budget
      worker      4711              on one, loads
      worker      4712              on one, loads 2 shares
      worker      17                on two, stands by
      worker      18                on two, silent for 12.3 s: another takes over
      worker      12                on one, has ended
    sink other
      applied     0/0               nothing is loaded yet"
  `);
});

test('a stage that cannot be read says why and what to do, beside the others', () => {
  const problem = reportError(
    new PipelineError('source-unreachable', 'PostgreSQL at db:5432 does not answer'),
  );
  const text = renderStatus({
    source: { problem },
    log: {
      tables: 1,
      records: 0,
      watermarkLsn: null,
      committedAt: null,
      watermarkAt: null,
      behindBytes: null,
      loading: [],
      parked: [],
    },
    sinks: {},
    workers: {},
  });
  expect(text).toMatchInlineSnapshot(`
    "source
      PostgreSQL at db:5432 does not answer (source-unreachable)
      hint: check that PostgreSQL runs and listens there
    log
      watermark   none
      holds       1 table           0 records"
  `);
});
