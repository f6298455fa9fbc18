import { afterAll } from 'vitest';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
import { cdcGaps } from './bigquery-cdc-gaps.ts';
import { runSinkSuite } from './sink-suite.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

const documents = { policyOf: () => ({ json: 'json', unfit: 'exact_text' }) as const };

runSinkSuite({
  name: 'bigquery cdc',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc' })),
  runs: 6,
  skip: cdcGaps,
});
runSinkSuite({
  name: 'bigquery cdc, documents as JSON',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc', ...documents })),
  runs: 3,
  skip: cdcGaps,
});
