import { duckdbHarness } from '../support/duckdb-harness.ts';
import { runSinkSuite } from './sink-suite.ts';

runSinkSuite({ name: 'duckdb', create: duckdbHarness, runs: 10 });
