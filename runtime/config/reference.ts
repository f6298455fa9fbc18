import { z } from 'zod';
import { fieldNotes, type FieldNote } from './fields.ts';
import { constantOf } from './problems.ts';
import { blockNotes, configSchema } from './schema.ts';

/** Every field of `tributary.yaml` in Markdown, derived from the schema that checks the file. */
export function renderConfigReference(): string {
  const sections = Object.entries(configSchema.shape).map(([name, schema]) => {
    const note = blockNotes[name as keyof typeof blockNotes];
    return [`## ${name}`, '', note, '', ...fieldTable(collectFields(schema, [name]))].join('\n');
  });
  return [
    '# tributary.yaml',
    '',
    'Sizes and times carry units: `8 MiB`, `10 s`. `${NAME}` stands for an environment variable. Relative',
    'paths count from the folder of the file. Unknown keys are refused.',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
}

interface ReferenceField {
  readonly name: string;
  readonly note: FieldNote;
}

function collectFields(schema: z.core.$ZodType, path: readonly string[]): ReferenceField[] {
  const note = fieldNotes.get(schema as z.ZodType);
  if (note !== undefined) return [{ name: path.join('.'), note }];
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return collectFields(schema.unwrap(), path);
  }
  if (schema instanceof z.ZodObject) {
    const entries = Object.entries(schema.shape as Readonly<Record<string, z.core.$ZodType>>);
    return entries.flatMap(([key, field]) => collectFields(field, [...path, key]));
  }
  if (schema instanceof z.ZodArray) {
    return collectFields(schema.element, [...path.slice(0, -1), `${path.at(-1)}[]`]);
  }
  if (schema instanceof z.ZodRecord) return collectFields(schema.valueType, [...path, '<name>']);
  if (schema instanceof z.ZodDiscriminatedUnion) {
    // With several types each field says which of them it belongs to.
    const suffix = (type: string) => (schema.options.length > 1 ? ` (${type})` : '');
    return schema.options.flatMap((option) =>
      collectFields(option, path).map(({ name, note: own }) => ({
        name: `${name}${suffix(constantOf(option))}`,
        note: own,
      })),
    );
  }
  return [];
}

function fieldTable(fields: readonly ReferenceField[]): string[] {
  const rows = fields.map(({ name, note }) => {
    const cells = [
      `\`${name}\``,
      note.unit,
      defaultCell(note),
      note.limit ?? '',
      `\`${note.example}\``,
      note.description,
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return [
    '| Field | Written as | Default | Limit | Example | Meaning |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ];
}

function defaultCell(note: FieldNote): string {
  if (note.constant !== undefined) return `\`${note.constant}\``;
  if (note.defaultText !== undefined) return `\`${note.defaultText}\``;
  return note.isOptional ? 'none' : 'required';
}
