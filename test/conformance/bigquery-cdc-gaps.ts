import type { SuiteGap } from './sink-suite.ts';

/** What mode `bigquery-cdc` does not promise, wherever it runs. */
export const cdcGaps: readonly SuiteGap[] = [
  {
    reason:
      'rows by key are visible before the checkpoint; test/faults/bigquery-write.test.ts has what holds',
    tests: [
      'shows at every published cut exactly the rows of the source',
      'goes on from its checkpoint after dying at any step',
      'hides an unpublished cut, and loses it with the process',
    ],
  },
];
