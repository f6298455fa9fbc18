import { z } from 'zod';
import { fieldNotes, suggestion } from './fields.ts';
import { quote } from './quantity.ts';
import {
  keyPosition,
  pathKey,
  positionOf,
  type ConfigPath,
  type ConfigProblem,
  type ConfigSource,
} from './source-text.ts';

/** What zod found, as sentences with line and column. */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType,
  source: ConfigSource,
): ConfigProblem[] {
  return issues
    .filter((issue) => !source.unresolved.has(pathKey(toPath(issue.path))))
    .flatMap((issue) => describeIssue(issue, schema, source));
}

function describeIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  source: ConfigSource,
): ConfigProblem[] {
  const path = toPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schemaAt(schema, path, source.value));
    return issue.keys.map((key) => ({
      ...keyPosition(source, [...path, key]),
      message: `${[...path, key].join('.')}: unknown key${suggestion(key, known) || `; known here: ${known.join(', ')}`}`,
    }));
  }
  const name = path.length === 0 ? 'the file' : path.join('.');
  return [
    {
      ...positionOf(source, path),
      message: `${name}: ${sentence(issue, { schema, source, path })}`,
    },
  ];
}

interface IssuePlace {
  readonly schema: z.ZodType;
  readonly source: ConfigSource;
  readonly path: ConfigPath;
}

function sentence(issue: z.core.$ZodIssue, place: IssuePlace): string {
  const { schema, source, path } = place;
  const value = valueAt(source.value, path);
  if (issue.code === 'invalid_union') {
    const types = unionTypes(schemaAt(schema, path.slice(0, -1), source.value));
    const allowed = types.map((type) => `"${type}"`).join(' or ');
    return value === undefined
      ? `is missing; give ${allowed}`
      : `${quote(value)} is not known; use ${allowed}`;
  }
  if (issue.code === 'invalid_type') {
    if (value === undefined) return `is missing${exampleAt(place)}`;
    if (value === null && path.length === 0)
      return 'is empty; `tributary config --reference` lists what it may hold';
    const wanted = expectation(issue.expected);
    return value === null
      ? `is empty; give ${wanted} or remove it`
      : `${quote(value)} is not ${wanted}`;
  }
  return issue.code === 'too_small' ? 'is empty; name at least one' : issue.message;
}

function exampleAt({ schema, source, path }: IssuePlace): string {
  const parent = schemaAt(schema, path.slice(0, -1), source.value);
  const own = parent instanceof z.ZodObject ? parent.shape[String(path.at(-1))] : undefined;
  const note = own instanceof z.ZodType ? fieldNotes.get(own) : undefined;
  return note === undefined ? '' : `; give it like ${note.example}`;
}

function expectation(expected: string): string {
  if (expected === 'array') return 'a list';
  return expected === 'object' || expected === 'record' ? 'a block' : `a ${expected}`;
}

/** The schema of a block: unions are decided by the `type` that the file gives. */
function schemaAt(
  schema: z.ZodType,
  path: ConfigPath,
  value: unknown,
): z.core.$ZodType | undefined {
  let current: z.core.$ZodType | undefined = unwrap(schema, value);
  let currentValue = value;
  for (const key of path) {
    currentValue = valueAt(currentValue, [key]);
    if (current instanceof z.ZodObject)
      current = current.shape[String(key)] as z.core.$ZodType | undefined;
    else if (current instanceof z.ZodRecord) current = current.valueType;
    else if (current instanceof z.ZodArray) current = current.element;
    else return undefined;
    if (current !== undefined) current = unwrap(current, currentValue);
  }
  return current;
}

/** Removes defaults and picks the member of a union. */
function unwrap(schema: z.core.$ZodType, value: unknown): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return unwrap(schema.unwrap(), value);
  }
  if (schema instanceof z.ZodDiscriminatedUnion) {
    const type = valueAt(value, ['type']);
    return schema.options.find((option) => constantOf(option) === type) ?? schema;
  }
  return schema;
}

function unionTypes(schema: z.core.$ZodType | undefined): string[] {
  return schema instanceof z.ZodDiscriminatedUnion ? schema.options.map(constantOf) : [];
}

/** The word of a union member's `type`. */
export function constantOf(option: z.core.$ZodType): string {
  const type: unknown = option instanceof z.ZodObject ? option.shape['type'] : undefined;
  return type instanceof z.ZodLiteral ? String(type.value) : '';
}

function knownKeys(schema: z.core.$ZodType | undefined): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function valueAt(value: unknown, path: ConfigPath): unknown {
  let current = value;
  for (const key of path) {
    if (current === null || typeof current !== 'object') return undefined;
    current = (current as Readonly<Record<string, unknown>>)[String(key)];
  }
  return current;
}

const toPath = (path: readonly PropertyKey[]): ConfigPath =>
  path.map((key) => (typeof key === 'number' ? key : String(key)));
