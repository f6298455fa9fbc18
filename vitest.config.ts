import { defineConfig } from 'vitest/config';

// Three suites: `unit` needs nothing and runs in seconds; `server` starts real servers (PostgreSQL,
// SQLite files, DuckDB) and kills them; `models` additionally needs the Python environment of dbt.
const server = [
  'test/conformance/**',
  'test/integration/**',
  'test/end-to-end/**',
  'test/faults/**',
  'test/peers/**',
];
const models = ['test/models/**/*.test.ts'];
const setupFiles = ['test/support/property-seed.ts'];

// A build machine is shared and slow at times: a test that waits for servers gets another chance there, and
// says so. Elsewhere none, so that a race shows itself.
const retry = process.env['CI'] === 'true' ? 2 : 0;

export default defineConfig({
  test: {
    // Most of a server test is waiting, so two files run side by side even on two cores.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles,
          include: ['**/*.test.ts'],
          exclude: ['node_modules/**', '.cache/**', 'data/**', 'test/!(support)/**'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'server',
          setupFiles,
          retry,
          include: server.map((folder) => `${folder}/*.test.ts`),
          // Generous, because a loaded machine is slow and the first demo makes its Python environment.
          testTimeout: 450_000,
          hookTimeout: 450_000,
        },
      },
      {
        test: {
          name: 'models',
          setupFiles,
          retry,
          include: models,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
