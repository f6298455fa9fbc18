import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { createProgressLine, renderProgress } from './progress-line.ts';

test.each([
  [{ done: 0, total: 100 }, 0, 'copy  ░░░░░░░░░░░░░░░░░░░░░░░░  0 %  0 of 100 rows'],
  [
    { done: 420_000, total: 1_000_000 },
    5_000,
    'copy  ██████████░░░░░░░░░░░░░░  42 %  420,000 of 1,000,000 rows  84,000/s  7 s left',
  ],
  [
    { done: 100, total: 100 },
    1_000,
    'copy  ████████████████████████  100 %  100 of 100 rows  100/s',
  ],
  [
    { done: 150, total: 100 },
    1_000,
    'copy  ████████████████████████  100 %  150 of 100 rows  150/s',
  ],
  [{ done: 12_345 }, 1_000, 'copy  12,345 rows  12,345/s'],
  [
    { done: 1_000, total: 1_000_000 },
    1_000,
    'copy  ░░░░░░░░░░░░░░░░░░░░░░░░  0 %  1,000 of 1,000,000 rows  1,000/s  17 min left',
  ],
])('%j after %i ms', (progress, elapsedMs, line) => {
  expect(
    renderProgress(
      { label: 'copy', unit: 'rows', ...progress },
      { elapsedMs, doneBefore: 0, hasBar: true },
    ),
  ).toBe(line);
});

test('a resumed job counts its rate from where it resumed', () => {
  const clock = { elapsedMs: 1_000, doneBefore: 900, hasBar: false };
  expect(renderProgress({ label: 'copy', unit: 'rows', done: 1_000, total: 1_200 }, clock)).toBe(
    'copy  83 %  1,000 of 1,200 rows  100/s  2 s left',
  );
});

test('a note that changes leaves the rate as it is', () => {
  const logged: string[] = [];
  let nowMs = 0;
  const stream = Object.assign(new Writable(), { isTTY: false });
  const log = (text: string) => logged.push(text);
  const line = createProgressLine({ stream, log, logEveryMs: 1_000, now: () => nowMs });
  for (nowMs = 0; nowMs <= 2_000; nowMs += 500)
    line.update({ label: 'copy', done: nowMs, unit: 'rows', note: `at ${nowMs} ms` });
  expect(logged.at(-1)).toBe('copy  2,000 rows  1,000/s  at 2000 ms');
});

test('without a terminal a line is logged now and then', () => {
  const logged: string[] = [];
  let nowMs = 0;
  const stream = Object.assign(new Writable(), { isTTY: false });
  const line = createProgressLine({
    stream,
    log: (text) => logged.push(text),
    logEveryMs: 1_000,
    now: () => nowMs,
  });
  for (nowMs = 0; nowMs <= 2_000; nowMs += 100)
    line.update({ label: 'copy', done: nowMs, unit: 'rows' });
  expect(logged).toEqual([
    'copy  0 rows',
    'copy  1,000 rows  1,000/s',
    'copy  2,000 rows  1,000/s',
  ]);
});

test('on a terminal the live line is redrawn in place and leaves nothing behind', () => {
  const written: string[] = [];
  const stream = Object.assign(
    new Writable({ write: (chunk, _encoding, done) => (written.push(String(chunk)), done()) }),
    { isTTY: true, columns: 20 },
  );
  const line = createProgressLine({ stream, log: () => expect.unreachable() });
  line.update({ label: 'a label that is longer than the terminal', done: 1, unit: 'rows' });
  line.print('kept');
  line.end();
  expect(written).toEqual(['\r\u001B[2Ka label that is lon', '\r\u001B[2K', 'kept\n']);
});
