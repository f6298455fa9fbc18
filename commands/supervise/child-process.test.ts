import { expect, test } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import { reportError } from '../../runtime/report-error.ts';
import { failureOf, parseLogLine } from './child-process.ts';

const end = { role: 'lake', code: null, killedBy: null, report: undefined };

test.each([
  ['a good end', { code: 0 }, undefined],
  ['a kill', { killedBy: 'SIGKILL' as const }, 'role-crashed'],
  ['an end without a word', { code: 1 }, 'role-broken'],
  [
    'a report',
    { code: 5, report: reportError(new PipelineError('sink-locked', 'held')) },
    'sink-locked',
  ],
  ['a defect', { code: 1, report: reportError(new TypeError('defect')) }, 'role-broken'],
])('%s', (_case, given, kind) => {
  expect(failureOf({ ...end, ...given })?.kind).toBe(kind);
});

test('a failure keeps its words and gains the role', () => {
  const report = reportError(
    new PipelineError('sink-locked', 'held by another', { cause: new Error('EBUSY') }),
  );
  expect(failureOf({ ...end, code: 5, report })?.message).toBe('lake: held by another; EBUSY');
});

test('a line of the log is read back; any other text is left alone', () => {
  expect(parseLogLine('{"level":40,"time":"x","msg":"late","table":"a"}')).toEqual({
    level: 'warn',
    message: 'late',
    fields: { table: 'a' },
  });
  expect(parseLogLine('{"level":99,"msg":"x"}')).toBeUndefined();
  expect(parseLogLine('{ not json')).toBeUndefined();
  expect(parseLogLine('Warning: something')).toBeUndefined();
});
