import { readFile } from 'node:fs/promises';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { PipelineError } from '../runtime/errors.ts';
import { type Mapping, mappingSchema } from './mapping.ts';

const problemsShownMax = 10;

/** Reads and checks a mapping file. Throws `config-invalid` with every problem, its line and column. */
export async function loadMapping(path: string): Promise<Mapping> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new PipelineError('config-invalid', `cannot read the mapping ${path}`, {
      hint: 'run `tributary init` to write one',
      cause,
    });
  });
  return parseMapping(text, path);
}

/** Checks the text of a mapping; `path` only names it in errors. Throws `config-invalid`. */
export function parseMapping(text: string, path: string): Mapping {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ pos, message }) => {
      const { line, col } = lines.linePos(pos[0]);
      return `line ${line}, column ${col}: ${message.split('\n')[0]?.replace(/ at line .*$/, '')}`;
    });
    throw invalid(path, problems);
  }
  const result = mappingSchema.safeParse(document.toJS());
  if (result.success) return result.data;
  throw invalid(
    path,
    result.error.issues.flatMap((issue) => describe(issue, document, lines)),
  );
}

function describe(
  issue: z.core.$ZodIssue,
  document: Document.Parsed,
  lines: LineCounter,
): readonly string[] {
  // An unknown key is reported on its parent: point at the key itself.
  const paths =
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => [...issue.path, key])
      : [issue.path];
  return paths.map((path) => {
    const place = placeOf(document, path, lines);
    const name = path.map(String).join(' › ');
    const what = issue.code === 'unrecognized_keys' ? 'is not known here' : issue.message;
    return `${place}${name === '' ? '' : `${name}: `}${what}`;
  });
}

/** The nearest node that exists: a missing key is shown where it should have been. */
function placeOf(
  document: Document.Parsed,
  path: readonly PropertyKey[],
  lines: LineCounter,
): string {
  for (let length = path.length; length >= 0; length -= 1) {
    const found: unknown =
      length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    const range = isNode(found) ? found.range : null;
    if (!range) continue;
    const { line, col } = lines.linePos(range[0]);
    return `line ${line}, column ${col}: `;
  }
  return '';
}

function invalid(path: string, problems: readonly string[]): PipelineError {
  const shown = problems.slice(0, problemsShownMax);
  const more =
    problems.length > shown.length ? `\n  … and ${problems.length - shown.length} more` : '';
  return new PipelineError(
    'config-invalid',
    `${path} is not a mapping:\n  ${shown.join('\n  ')}${more}`,
    {
      hint: `correct ${path}`,
      context: { problems: problems.length },
    },
  );
}

interface TextOptions {
  /** The file's text so far; null for a new one. */
  readonly before?: string | null;
  readonly heading?: string;
}

/**
 * The text of a mapping file. Where there is one already (`before`), only what differs is changed, so the
 * comments of whoever reviewed it stay. `heading` is the comment on top of a new file.
 */
export function mappingText(
  mapping: Mapping,
  { before = null, heading = '' }: TextOptions = {},
): string {
  const document = parseDocument(before ?? '{}');
  if (before === null || document.errors.length > 0 || document.contents === null) {
    const fresh = parseDocument('');
    fresh.contents = fresh.createNode(mapping) as unknown as typeof fresh.contents;
    if (heading !== '') fresh.commentBefore = heading.replaceAll(/^/gm, ' ');
    return fresh.toString({ lineWidth: 110, flowCollectionPadding: true });
  }
  merge(document, { at: [], from: document.toJS() as unknown, to: mapping });
  return document.toString({ lineWidth: 110 });
}

interface Difference {
  readonly at: readonly string[];
  readonly from: unknown;
  readonly to: unknown;
}

function merge(document: Document, { at, from, to }: Difference): void {
  if (JSON.stringify(from) === JSON.stringify(to)) return;
  if (!isObject(from) || !isObject(to)) {
    if (at.length === 0)
      document.contents = document.createNode(to) as unknown as typeof document.contents;
    else document.setIn(at, document.createNode(to));
    return;
  }
  for (const key of Object.keys(from)) if (!(key in to)) document.deleteIn([...at, key]);
  for (const [key, value] of Object.entries(to))
    merge(document, { at: [...at, key], from: from[key], to: value });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
