import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommandLine } from '../support/command-line.ts';

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(path.join(os.tmpdir(), 'tributary-demo-'));
  // Where the user that PostgreSQL runs as gets through, its cluster is in this folder, and goes with it.
  await chmod(parent, 0o755);
});
afterAll(async () => {
  await rm(parent, { recursive: true, force: true });
});

const processesOf = (dir: string) =>
  execFileSync('ps', ['-A', '-ww', '-o', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(dir));

test('the demo does the whole job, ends with source and lake equal, and leaves nothing running', async () => {
  const dir = path.join(parent, 'job');
  const demo = await runCommandLine(['demo', '--seconds', '4', '--dir', dir], {
    cwd: parent,
    env: { TRIBUTARY_CACHE: path.resolve(import.meta.dirname, '../../.cache') },
  });
  expect(demo.exit, demo.stdout + demo.stderr).toBe(0);
  for (const line of [
    /✓ Sample business +26,\d{3} rows in 19 tables/,
    /✓ Configuration +understood: master public.master, 6 event tables of 19/,
    /✓ Traffic +[\d,]+ changes in [\d,]+ transactions \([\d,]+\/s\)/,
    /✓ Snapshot +[\d,]+ rows in [\d.]+ s \([\d,]+\/s\)/,
    /✓ Lake +[\d,]+ changes streamed; commit to lake [\d,]+ ms median/,
    /✓ Models +\d+ models and \d+ tests, all good/,
    /✓ Verification +[\d,]+ rows of 19 tables, equal value for value, at LSN/,
    /One master: user \S+/,
    /deleted at the source; only the lake still knows: user user\d+ \(\d+ moments\)/,
    /Features \(analytics.feat_master_activity_daily\)/,
    /source and lake are equal/,
    /npm start -- --stay/,
  ]) {
    expect(demo.stdout).toMatch(line);
  }
  // Its server is gone: an address of it would lead nowhere.
  expect(demo.stdout).not.toContain('DATABASE_URL=');
  for (const file of ['tributary.yaml', 'mapping.yaml', 'tributary.sql', 'data/lake.duckdb']) {
    expect(existsSync(path.join(dir, file)), file).toBe(true);
  }
  expect(processesOf(dir)).toEqual([]);
});

test('a folder that holds something else is refused and left alone', async () => {
  await writeFile(path.join(parent, 'thesis.txt'), 'years of work');
  const demo = await runCommandLine(['demo', '--dir', parent]);
  expect(demo.exit).toBe(2);
  expect(demo.stderr).toContain('holds files that are not from a demo');
  expect(existsSync(path.join(parent, 'thesis.txt'))).toBe(true);
});

test('a number of seconds that is none is refused before anything starts', async () => {
  const demo = await runCommandLine([
    'demo',
    '--seconds',
    'ten',
    '--dir',
    path.join(parent, 'none'),
  ]);
  expect(demo.exit).toBe(2);
  expect(demo.stderr).toContain('--seconds takes a whole number above 0, not "ten"');
  expect(existsSync(path.join(parent, 'none'))).toBe(false);
});
