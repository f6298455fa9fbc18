import { afterAll } from 'vitest';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
import { runSinkSuite } from './sink-suite.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

const skip = [
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
const documents = { policyOf: () => ({ json: 'json', unfit: 'exact_text' }) as const };

runSinkSuite({
  name: 'bigquery cdc',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc' })),
  runs: 6,
  skip,
});
runSinkSuite({
  name: 'bigquery cdc, documents as JSON',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc', ...documents })),
  runs: 3,
  skip,
});
