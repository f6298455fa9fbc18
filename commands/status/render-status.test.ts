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
      behindBytes: 0,
      loading: ['public.orders', 'public.events'],
      parked: [{ table: 'public.stock', since: '', reason: 'rule BACKWARD' }],
    },
    sinks: {
      lake: { epoch: 3, applied: '', appliedLsn: '16/B3700000', behindBytes: 317_512 },
      other: { epoch: 0, applied: '', appliedLsn: '0/0', behindBytes: null },
    },
  });
  expect(text).toMatchInlineSnapshot(`
    "source
      WAL end     16/B374D848
      confirmed   16/B374D000       2.1 KiB behind
      slot        shop              in use, keeps 50 MiB of WAL, WAL extended
    log
      watermark   16/B374D848       0 B behind, newest commit 2026-01-02T03:04:05.678Z
      holds       14 tables         1,234,567 records
      first load  2 to go           public.orders, public.events
      parked      public.stock      rule BACKWARD
    sink lake
      applied     16/B3700000       310.1 KiB behind
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
      behindBytes: null,
      loading: [],
      parked: [],
    },
    sinks: {},
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
