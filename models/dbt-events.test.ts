import { expect, test } from 'vitest';
import { readDbtEvent } from './dbt-events.ts';

const line = (name: string, data: object) =>
  JSON.stringify({
    info: { name, level: 'info', msg: '3 of 170 PASS' },
    data: { node_info: { node_name: 'dim_masters' }, ...data },
  });

test('a model and a test that are done are counted among all of them', () => {
  const event = { level: 'info', message: 'dim_masters', isResult: true, total: 170 };
  expect(readDbtEvent(line('LogModelResult', { total: 170 }))).toEqual(event);
  expect(readDbtEvent(line('LogTestResult', { num_models: 170 }))).toEqual(event);
});

test('what is about no model is the words of dbt, what is no event is nothing', () => {
  const other = line('LogStartLine', { total: 170 });
  expect(readDbtEvent(other)).toEqual({
    level: 'info',
    message: '3 of 170 PASS',
    isResult: false,
    total: 0,
  });
  for (const words of ['Traceback', '{ torn', '{"info":null}'])
    expect(readDbtEvent(words)).toBeNull();
});
