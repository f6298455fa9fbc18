import { afterAll } from 'vitest';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
import { runSinkSuite } from './sink-suite.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

runSinkSuite({
  name: 'bigquery stream',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'stream' })),
  runs: 6,
});
