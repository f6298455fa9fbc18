import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { createRedact } from './redact.ts';

function collect(isTTY: boolean) {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => chunks.join('') };
}

test('where no terminal listens each line is one JSON object', () => {
  const { stream, text } = collect(false);
  createLogger({ level: 'info', format: 'auto', stream }).info({ table: 'public.a' }, 'ready');
  expect(JSON.parse(text())).toMatchObject({ level: 30, table: 'public.a', msg: 'ready' });
});

test('on a terminal lines are for people', () => {
  const { stream, text } = collect(true);
  createLogger({ level: 'info', format: 'auto', stream }).warn({ table: 'public.a' }, 'late');
  expect(text()).toContain('late');
  expect(text()).toContain('WARN');
  expect(() => JSON.parse(text()) as unknown).toThrow('JSON');
});

test.each(['json', 'pretty'] as const)(
  'no password reaches a %s line, whoever wrote it',
  (format) => {
    const { stream, text } = collect(false);
    const logger = createLogger({
      level: 'info',
      format,
      stream,
      redact: createRedact(['open-sesame']),
    });
    logger.error({ error: new Error('postgres://app:word@db refused open-sesame') }, 'open-sesame');
    logger.child({ url: 'postgres://app:word@db' }).info('child');
    expect(text()).not.toMatch(/open-sesame|word/);
    expect(text()).toContain('postgres://app:***@db');
  },
);

test('a line for people is one line: who, what, its kind, what to do, then what else there is', () => {
  const { stream, text } = collect(false);
  const logger = createLogger({ level: 'info', format: 'pretty', stream });
  logger.info({ role: 'lake', epoch: 2 }, 'goes on');
  logger.error({ role: 'models', kind: 'models-failed', hint: 'see dbt.log' }, 'models: 1 failed');
  expect(text().replaceAll(/^\[.*?\] /gm, '')).toBe(
    'INFO: lake: goes on {"epoch":2}\nERROR: models: 1 failed (models-failed); hint: see dbt.log\n',
  );
});

test('lines below the level are not written', () => {
  const { stream, text } = collect(false);
  createLogger({ level: 'warn', format: 'auto', stream }).info('small talk');
  expect(text()).toBe('');
});
