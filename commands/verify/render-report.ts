import type { Difference } from './differences.ts';
import type { VerifyReport } from './verify-lake.ts';

/** The report as JSON shows it and as people read it, without the values of columns that are not keys. */
export function withoutValues(report: VerifyReport): VerifyReport {
  return {
    ...report,
    tables: report.tables.map((table) => ({
      ...table,
      differences: table.differences.map((difference) => hideValues(difference, table.hasKey)),
    })),
  };
}

function hideValues(difference: Difference, hasKey: boolean): Difference {
  if (difference.kind !== 'columns-differ') {
    // A row without a key is named by all its values.
    return hasKey ? difference : { ...difference, key: [] };
  }
  const columns = difference.columns.map(({ name }) => ({ name, source: null, lake: null }));
  return { ...difference, columns };
}

/** One line a table, then what differs in it, at most `rowsShown` rows each. */
export function renderVerifyReport(report: VerifyReport, rowsShown: number): string {
  const width = Math.max(...report.tables.map(({ table }) => table.length), 0);
  const lines = report.tables.flatMap((table) => {
    const count = table.differences.length;
    const outcome =
      count === 0 ? 'equal' : `${grouped(count)} ${count === 1 ? 'row differs' : 'rows differ'}`;
    const rows = `${grouped(table.sourceRows)} rows`;
    const head = `${table.table.padEnd(width)}  ${rows.padStart(14)}  ${outcome}`;
    const shown = table.differences.slice(0, rowsShown).map(renderDifference);
    const left = count - shown.length;
    return [
      head,
      ...shown,
      ...(left > 0 && rowsShown > 0 ? [`    … and ${grouped(left)} more (--rows)`] : []),
    ];
  });
  const verdict =
    report.differences === 0
      ? 'source and lake are equal, value for value'
      : `${grouped(report.differences)} rows differ`;
  return [
    ...lines,
    '',
    `${grouped(report.rows)} rows of ${report.tables.length} tables as of LSN ${report.lsn}: ${verdict} (${report.seconds.toFixed(1)} s)`,
  ].join('\n');
}

function renderDifference(difference: Difference): string {
  const key =
    difference.key.length === 0
      ? 'a row'
      : `key ${difference.key.map((part) => part ?? 'NULL').join(', ')}`;
  switch (difference.kind) {
    case 'missing-in-lake':
      return `    ${key}: missing in the lake${times(difference.count)}`;
    case 'only-in-lake':
      return `    ${key}: only in the lake${times(difference.count)}`;
    case 'columns-differ':
      return `    ${key}: ${difference.columns.map(renderColumn).join(', ')}`;
  }
  return difference satisfies never;
}

const times = (count: number) => (count === 1 ? '' : ` (${count} times)`);

function renderColumn(column: {
  readonly name: string;
  readonly source: string | null;
  readonly lake: string | null;
}): string {
  if (column.source === null && column.lake === null) return `${column.name} differs`;
  const text = (value: string | null) => (value === null ? 'NULL' : JSON.stringify(value));
  return `${column.name} is ${text(column.source)} in the source, ${text(column.lake)} in the lake`;
}

const grouped = (count: number) => count.toLocaleString('en-US');
