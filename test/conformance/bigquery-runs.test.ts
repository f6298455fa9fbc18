import { afterAll, beforeAll, describe, vi } from 'vitest';
import type { BigquerySinkOptions } from '../../sinks/bigquery/bigquery-sink.ts';
import { bigqueryHarness } from '../support/bigquery-harness.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';
import { cdcGaps } from './bigquery-cdc-gaps.ts';
import { runSinkSuite, type SuiteGap } from './sink-suite.ts';

/*
 * A second opinion that is not ours, and a third: the suite on an emulator, and on the service where there is
 * a project.
 */

/** A statement takes a tenth of a second on the emulator and some seconds on the service. */
vi.setConfig({ testTimeout: 1_800_000 });
const size = { runs: 1, batchesMax: 5 };

/** test/integration/local-bigquery.test.ts holds the emulator to each of them: one that is mended shows there. */
const bignumericGap: SuiteGap = {
  reason: 'local-bigquery: BIGNUMERIC has 20 digits before the point',
  tests: ['gives back every numeric(38,10) as it was'],
};
const streamGaps: readonly SuiteGap[] = [
  bignumericGap,
  {
    reason: 'local-bigquery: DATETIME and TIME are not taken as packed integers over gRPC',
    tests: [
      'gives back every time without time zone as it was',
      'gives back every time(3) without time zone as it was',
      'gives back every timestamp without time zone as it was',
    ],
  },
  {
    reason: 'local-bigquery: an append to a finalized stream is not refused with STREAM_FINALIZED',
    tests: ['fences the owner before it, which then changes nothing'],
  },
];

interface Mode {
  readonly name: string;
  readonly settings: Partial<BigquerySinkOptions>;
  readonly gaps?: readonly SuiteGap[];
  readonly emulatorGaps: readonly SuiteGap[];
}

const modes: readonly Mode[] = [
  { name: 'bigquery', settings: {}, emulatorGaps: [bignumericGap] },
  {
    name: 'bigquery, small batches without a load',
    settings: { inlineTableBytesMax: 64 << 10 },
    emulatorGaps: [bignumericGap],
  },
  { name: 'bigquery stream', settings: { mode: 'stream' }, emulatorGaps: streamGaps },
  {
    name: 'bigquery cdc',
    settings: { mode: 'bigquery-cdc' },
    gaps: cdcGaps,
    emulatorGaps: [{ reason: 'local-bigquery: there is no column _CHANGE_TYPE', tests: 'all' }],
  },
];

/** Of one mode. */
const runs = await bigqueryRuns({ statements: 2_000, tablesPerStatement: 2 });
const cases = runs.flatMap((run) => modes.map((mode) => ({ ...run, mode })));

// Each mode has a server of its own: the emulator takes the longer for a statement the more tables there were.
for (const { name: place, isSkipped, isEmulator, start, mode } of cases) {
  describe.skipIf(isSkipped)(`on ${place}:`, () => {
    let server: TestBigQuery;
    beforeAll(async () => {
      server = await start();
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const { name, settings, gaps = [], emulatorGaps } = mode;
    const skip = isEmulator ? [...emulatorGaps, ...gaps] : gaps;
    runSinkSuite({ name, create: () => bigqueryHarness(server, () => settings), skip, ...size });
  });
}
