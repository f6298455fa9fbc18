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
          exclude: ['node_modules/**', '.cache/**', 'data/**', 'test/**'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'server',
          setupFiles,
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
          include: models,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
