import { memoryHarness } from '../support/memory-harness.ts';
import { runSinkSuite } from './sink-suite.ts';

runSinkSuite({ name: 'memory', create: async () => memoryHarness(), runs: 200 });
