import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, expect, test } from 'vitest';
import { renderReport } from './models.ts';
import { runCli } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-models-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function failureOf(words: readonly string[], more = ''): Promise<string> {
  const file = join(folder, 'tributary.yaml');
  const sinks = 'sinks: { lake: { type: duckdb, path: lake.duckdb } }';
  writeFileSync(
    file,
    `source: { url: "postgres://app@localhost/shop" }\nlog: { type: embedded }\n${sinks}\n${more}`,
  );
  const chunks: string[] = [];
  const stderr = new Writable({
    write: (chunk, _encoding, done) => (chunks.push(String(chunk)), done()),
  });
  const exit = await runCli(['models', ...words, '--config', file], {
    stdout: process.stdout,
    stderr,
    env: {},
  });
  return `${exit}: ${chunks.join('').split('\n')[0]}`;
}

test('what cannot be built is told before anything is started', async () => {
  expect(await failureOf(['bild'])).toBe('2: error: there is no action "bild"');
  expect(await failureOf(['build'])).toBe('2: error: no models are configured (config-invalid)');
  expect(await failureOf(['build'], 'models: { sink: lake, mapping: ./nowhere.yaml }')).toContain(
    join(folder, 'nowhere.yaml'),
  );
});

test('a report names each model with its rows, what is missing, and the outcome', () => {
  const node = { relation: null, message: null, seconds: 1, failures: null };
  const report = renderReport({
    isGood: false,
    models: [
      { ...node, kind: 'model', name: 'dim_masters', status: 'success', rows: 12_345 },
      { ...node, kind: 'model', name: 'stg_orders', status: 'success', rows: null },
    ],
    tests: [{ ...node, kind: 'test', name: 'unique', status: 'failed' }],
    missingTables: ['public.refunds'],
    seconds: 12.34,
    projectFolder: '/srv/models',
  } as Parameters<typeof renderReport>[0]);
  expect(report).toMatchInlineSnapshot(`
    "  dim_masters        12,345 rows
      public.refunds is mapped, but not in the lake
    2 models, 1 test in 12.3 s: 1 failed"
  `);
});
