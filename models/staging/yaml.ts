import type { SharedColumn } from './shared-columns.ts';
import { eventColumns, rowChangeColumns } from './shared-columns.ts';
import type { SharedModel } from './shared-models.ts';
import { type GeneratedFile, yamlText } from './sql-text.ts';
import { slug } from './table-models.ts';
import type { TablePlan } from './table-plan.ts';

const folder = 'models/staging/generated';

/**
 * The sources: each schema of the source database that has mapped tables, and the lake's own tables.
 * `watermarksIn` is the schema of the lake that has those; null where there are none.
 */
export function sourcesYaml(
  tables: readonly TablePlan[],
  watermarksIn: string | null,
): GeneratedFile {
  const schemas = Map.groupBy(tables, (plan) => plan.lake.schema);
  const sources = [...schemas].map(([schema, plans]) => {
    const changes = plans.map((plan) => ({
      name: plan.lake.stored.changes,
      description: `Every change of ${plan.source}, in the order of _cdc_seq.`,
    }));
    return source({ schema, storedIn: plans[0]?.lake.stored.schema ?? schema, tables: changes });
  });
  if (watermarksIn !== null) {
    const tables = [
      { name: '_tributary_watermarks', description: 'The published cuts of the lake.' },
    ];
    sources.push(source({ schema: 'tributary', storedIn: watermarksIn, tables }));
  }
  const text = sources.length === 0 ? 'version: 2\n' : `version: 2\nsources:\n${sources.join('')}`;
  return { path: `${folder}/_sources.yml`, text };
}

interface SourceTable {
  readonly name: string;
  readonly description: string;
}

interface Source {
  /** As the source database, or the lake for its own tables, calls it. */
  readonly schema: string;
  readonly storedIn: string;
  readonly tables: readonly SourceTable[];
}

function source({ schema, storedIn, tables }: Source): string {
  const lines = tables.map(
    ({ name, description }) =>
      `      - name: ${yamlText(name)}\n        description: ${yamlText(description)}\n`,
  );
  return [
    `  - name: lake_${slug(schema)}\n`,
    `    schema: ${yamlText(storedIn)}\n`,
    `    description: ${yamlText(`The lake's copy of schema ${schema}.`)}\n`,
    '    quoting: {schema: true, identifier: true}\n',
    '    tables:\n',
    ...lines,
  ].join('');
}

interface ColumnDoc {
  readonly name: string;
  readonly description: string;
}

interface ModelDoc {
  readonly name: string;
  readonly description: string;
  readonly columns: readonly ColumnDoc[];
  /** The column that tells its rows apart. */
  readonly primaryKey: string | null;
}

const metaDocs: readonly ColumnDoc[] = [
  { name: '_cdc_seq', description: 'The position: unique, text order is commit order.' },
  {
    name: '_cdc_op',
    description: 'c insert, r row of a snapshot, u update, d delete, t truncate.',
  },
  {
    name: '_cdc_row_key',
    description: 'The primary key as text; the position where there is no key.',
  },
  {
    name: '_cdc_available_at',
    description: 'When the change could be known; never falls within a key. UTC.',
  },
];

/** Documentation and tests of the three models of a table, beside them. */
export function modelsYaml(plan: TablePlan): GeneratedFile {
  const own = plan.columns.map(({ name }) => ({ name, description: `${name} of ${plan.source}.` }));
  const isEvent = plan.mapped.kind === 'event';
  const docs: readonly ModelDoc[] = [
    {
      name: plan.baseModel,
      description: `One row per change of ${plan.source}; columns that an update left out are carried forward.`,
      columns: [...metaDocs, ...own],
      primaryKey: '_cdc_seq',
    },
    {
      name: plan.currentModel,
      description: `One row per row of ${plan.source}, as it is now, or was last when _is_deleted.`,
      columns: [
        { name: '_row_key', description: 'The primary key as text.' },
        { name: '_is_deleted', description: 'True when the source has deleted the row.' },
        ...own,
      ],
      primaryKey: '_row_key',
    },
    {
      name: plan.changesModel,
      description: isEvent
        ? `One row per version of an event of ${plan.source}.`
        : `One row per change of ${plan.source} with its images, masked.`,
      columns: isEvent ? eventColumns : rowChangeColumns,
      primaryKey: null,
    },
  ];
  return { path: `${folder}/${plan.baseModel}.yml`, text: modelsText(docs) };
}

/** Documentation of the models that are there once. */
export function sharedYaml(models: readonly SharedModel[]): GeneratedFile {
  const docs = models.map(({ name, description, columns }) => ({
    name,
    description,
    columns: columns satisfies readonly SharedColumn[],
    primaryKey: null,
  }));
  return { path: `${folder}/_shared.yml`, text: modelsText(docs) };
}

function modelsText(docs: readonly ModelDoc[]): string {
  return `version: 2\nmodels:\n${docs.map(modelText).join('')}`;
}

function modelText({ name, description, columns, primaryKey }: ModelDoc): string {
  const test = '        data_tests: [is_primary_key]\n';
  const columnLines = columns.map(
    (column) =>
      `      - name: ${yamlText(column.name)}\n        description: ${yamlText(column.description)}\n` +
      (column.name === primaryKey ? test : ''),
  );
  return `  - name: ${name}\n    description: ${yamlText(description)}\n    columns:\n${columnLines.join('')}`;
}
