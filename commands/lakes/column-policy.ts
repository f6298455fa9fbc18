import { compilePatterns } from '../../capture/postgres/table-patterns.ts';
import type { BigquerySinkConfig } from '../../runtime/config.ts';
import type { LakeFinding } from '../../sinks/bigquery/check-lake.ts';
import type { PolicyOf } from '../../sinks/bigquery/column-policy.ts';
import type { CapturedTable } from './lake.ts';

type ColumnSettings = BigquerySinkConfig['columns'];

/** The configured policy. Of the overrides that match a column, the last one that sets something decides it. */
export function compilePolicy({ json, unfit, overrides }: ColumnSettings): PolicyOf {
  const compiled = overrides.map((one) => ({ ...one, matches: compilePatterns([one.column]) }));
  return (column) => {
    const matching = compiled.filter(({ matches }) => matches(column));
    return {
      json: matching.findLast((one) => one.json !== undefined)?.json ?? json,
      unfit: matching.findLast((one) => one.unfit !== undefined)?.unfit ?? unfit,
    };
  };
}

/** The settings as a text to tell other ones by; empty where nothing is set. */
export function policyText({ json, unfit, overrides }: ColumnSettings): string {
  const isDefault = json === 'string' && unfit === 'exact_text' && overrides.length === 0;
  return isDefault ? '' : JSON.stringify({ json, unfit, overrides });
}

/** Overrides that match nothing: columns may come later, but most likely it is a slip of the pen. */
export function checkOverrides(
  { overrides }: ColumnSettings,
  tables: readonly CapturedTable[],
): readonly LakeFinding[] {
  const columns = tables.flatMap((table) => table.columns.map((name) => `${table.name}.${name}`));
  return overrides.flatMap(({ column }, index): readonly LakeFinding[] =>
    columns.some(compilePatterns([column]))
      ? []
      : [
          {
            severity: 'warning',
            what: `columns.overrides.${index} matches no column: "${column}"`,
            why: 'it changes nothing until such a column is loaded; write it like schema.table.column, with * for any',
            sql: null,
          },
        ],
  );
}
