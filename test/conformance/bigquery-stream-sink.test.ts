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

const documents = { policyOf: () => ({ json: 'json', unfit: 'exact_text' }) as const };
runSinkSuite({
  name: 'bigquery stream, documents as JSON',
  create: () => fakeBigqueryHarness(fake, () => ({ mode: 'stream', ...documents })),
  runs: 3,
});
