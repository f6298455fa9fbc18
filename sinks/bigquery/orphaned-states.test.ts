import { expect, it } from 'vitest';
import { orphanedStates } from './orphaned-states.ts';

const listed = (...names: readonly string[]) =>
  names.map((tableId) => ({ tableReference: { tableId }, type: 'TABLE' }));
const kept = [
  { state: 'items__state', place: 'items__state_0123abcd_2' },
  { state: 'a__items__state', place: 'a__items__state' },
];

it('what had a source table’s rows and has them no more is an orphan', () => {
  const tables = listed(
    'items__state',
    'items__state_0123abcd_1',
    'items__state_0123abcd_2',
    'items__state_ffffffff_12',
    'a__items__state',
    'a__items__state_ffffffff_1',
  );
  expect(orphanedStates(tables, kept)).toEqual([
    'items__state',
    'items__state_0123abcd_1',
    'items__state_ffffffff_12',
    'a__items__state_ffffffff_1',
  ]);
});

it('changes, tables of others, tables of people and views are none', () => {
  const tables = listed(
    'items',
    'items__changes',
    'items__states',
    'items__state_0123abcd',
    'items__state_0123ABCD_1',
    'items__state_0123abcd_1_old',
    'items__state_2026',
    'other__state_ffffffff_1',
    '_tributary_checkpoints',
  );
  expect(orphanedStates(tables, kept)).toEqual([]);
  const view = { tableReference: { tableId: 'items__state_ffffffff_1' }, type: 'VIEW' };
  expect(orphanedStates([view], kept)).toEqual([]);
});
