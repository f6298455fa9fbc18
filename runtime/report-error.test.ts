import { describe, expect, test } from 'vitest';
import { errorPolicies, PipelineError, type ErrorKind } from './errors.ts';
import { createRedact } from './redact.ts';
import { renderReport, renderReportJson, reportError } from './report-error.ts';

const unreachable = new PipelineError(
  'source-unreachable',
  'PostgreSQL at db:5432 does not answer',
  {
    context: { host: 'db', port: 5432, lsn: 16n },
    cause: new Error('connect failed', { cause: new Error('ECONNREFUSED postgres://app:word@db') }),
  },
);

test('people read what failed, why, and what to type', () => {
  expect(renderReport(reportError(unreachable))).toMatchInlineSnapshot(`
    "error: PostgreSQL at db:5432 does not answer (source-unreachable)
      because: connect failed
      because: ECONNREFUSED postgres://app:***@db
      hint: check that PostgreSQL runs and listens there
    "
  `);
});

test('a cause that the message quotes is not said again', () => {
  const cause = new Error('getaddrinfo ENOTFOUND db');
  const error = new PipelineError(
    'source-unreachable',
    'cannot reach PostgreSQL: getaddrinfo ENOTFOUND db',
    { cause },
  );
  expect(reportError(error).causes).toEqual([]);
});

test('programs read one line of JSON', () => {
  const line = renderReportJson(reportError(unreachable));
  expect(line.trimEnd().split('\n')).toHaveLength(1);
  expect(JSON.parse(line)).toEqual({
    error: {
      kind: 'source-unreachable',
      message: 'PostgreSQL at db:5432 does not answer',
      hint: 'check that PostgreSQL runs and listens there',
      causes: ['connect failed', 'ECONNREFUSED postgres://app:***@db'],
      context: { host: 'db', port: 5432, lsn: '16' },
      exit: 3,
    },
  });
});

test('a usage error ends with the line to try', () => {
  const error = new PipelineError('usage', 'there is no option --x', {
    hint: 'Try: tributary run --help',
  });
  expect(renderReport(reportError(error))).toBe(
    'error: there is no option --x\nTry: tributary run --help\n',
  );
});

test('no secret passes, wherever in the error it stands', () => {
  const error = new PipelineError('source-denied', 'open-sesame was refused', {
    hint: 'open-sesame',
    context: { said: ['open-sesame'] },
    cause: new AggregateError([new Error('open-sesame'), new Error('again')], ''),
  });
  const report = reportError(error, createRedact(['open-sesame']));
  expect(JSON.stringify(report)).not.toContain('open-sesame');
  expect(report.causes).toEqual(['***; again']);
});

describe('exit codes', () => {
  test.each(Object.keys(errorPolicies) as ErrorKind[])('%s has that of its policy', (kind) => {
    expect(reportError(new PipelineError(kind, 'x')).exit).toBe(errorPolicies[kind].exit);
  });

  test('a defect is 1 and shows its stack', () => {
    const report = reportError(new TypeError('x is undefined'));
    expect(report).toMatchObject({ kind: 'defect', exit: 1 });
    expect(report.message).toContain('report-error.test.ts');
    expect(reportError('thrown text').message).toBe('thrown text');
  });
});
