import { expect, it } from 'vitest';
import { BatchMaker, versionOf } from '../../test/support/batch-maker.ts';
import { TableHistory } from '../lake/layout.ts';
import { planEvolution } from '../lake/plan-evolution.ts';
import { bigqueryEngine } from './schema.ts';
import { scriptBytesMax } from './script-limits.ts';
import { appendChangesSql, mergeStateSql } from './sql.ts';

it('the statements of 1,000 long-named columns, all of them filled, stay below the limit of a script', () => {
  const name = (at: number) => `a_column_with_a_name_that_is_long_${at}`;
  const names = Array.from({ length: 1_000 }, (_, at) => name(at));
  const columns = Object.fromEntries(names.map((one) => [one, { kind: 'text' as const }]));
  const version = versionOf({ name: 'wide', key: [name(0)], columns }, new BatchMaker().next);
  const engine = bigqueryEngine('lake');
  const history = new TableHistory(engine.namesOf);
  history.add(planEvolution(engine, undefined, version).layout);
  const layout = history.of(version);
  if (layout === undefined) throw new Error('the version is in the history');
  const filled = names.map((_, at) => at).slice(1);
  const merge = { stage: 's', floor: null, hasExactKeys: false };
  const append = appendChangesSql(layout, { stage: 's', batchId: 'b', loadedAtUs: 0n });
  const bytes = (chosen: readonly number[]) =>
    append.length + mergeStateSql(layout, { ...merge, filled: chosen }).length;
  expect(bytes(filled)).toBeLessThan(scriptBytesMax);
  expect(bytes(filled.slice(0, 50))).toBeLessThan(scriptBytesMax / 2);
});
