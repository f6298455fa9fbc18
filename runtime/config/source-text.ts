import {
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Scalar,
} from 'yaml';

/** One thing wrong with the file, where, in words. */
export interface ConfigProblem {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type ConfigPath = readonly (string | number)[];

/** The text of a configuration file as a tree that knows where each of its values stands. */
export interface ConfigSource {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  /** The plain value of the whole, environment variables filled in. */
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Paths of the values that hold an environment variable. */
  readonly fromEnvironment: ReadonlySet<string>;
  /** Paths of the values whose environment variable is not set: already a problem, not to be named twice. */
  readonly unresolved: ReadonlySet<string>;
  /** What the environment brought in: never to be shown. */
  readonly secrets: ReadonlyMap<string, string>;
}

/**
 * `{ url: ${DATABASE_URL} }` is not YAML, because braces end a plain word inside a flow map. So the three
 * signs of a reference become letters of the private use area before parsing: same length, so that every
 * line and column stays true, and no text of the environment ever passes through the YAML parser.
 */
const referenceStart = '\uE000\uE001';
const referenceEnd = '\uE002';
const referencePattern = /\uE000\uE001([A-Za-z_][A-Za-z0-9_]*)\uE002/g;

/** Reads the text; syntax errors and missing environment variables become problems. */
export function readConfigSource(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): ConfigSource {
  const lines = new LineCounter();
  const masked = text.replaceAll(
    /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g,
    (_, name: string) => `${referenceStart}${name}${referenceEnd}`,
  );
  const document = parseDocument(masked, { lineCounter: lines, prettyErrors: false });
  const problems: ConfigProblem[] = document.errors.map((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    return { line, column: col, message: `this is not YAML: ${unmask(error.message)}` };
  });
  const filled = fillReferences({ document, lines, env, problems });
  const value: unknown =
    problems.length > 0 && document.errors.length > 0 ? undefined : document.toJS();
  return { document, lines, value, problems, ...filled };
}

interface FillOptions {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly problems: ConfigProblem[];
}

function fillReferences(options: FillOptions) {
  const { document, lines, env, problems } = options;
  const fromEnvironment = new Set<string>();
  const unresolved = new Set<string>();
  const secrets = new Map<string, string>();
  visit(document, {
    Scalar(key, node, ancestors) {
      if (typeof node.value !== 'string' || !node.value.includes(referenceStart)) return;
      if (key === 'key') {
        node.value = unmask(node.value);
        return;
      }
      const path = pathKey(pathOf(node, ancestors));
      fromEnvironment.add(path);
      node.value = node.value.replaceAll(referencePattern, (_, name: string) => {
        const value = env[name];
        if (value !== undefined && value !== '') {
          secrets.set(value, `\${${name}}`);
          return value;
        }
        const { line, col } = lines.linePos(node.range?.[0] ?? 0);
        problems.push({ line, column: col, message: `environment variable ${name} is not set` });
        unresolved.add(path);
        return '';
      });
    },
  });
  return { fromEnvironment, unresolved, secrets };
}

/** Keys from the root to a scalar, from the ancestors that `visit` gives. */
function pathOf(node: Scalar, ancestors: readonly unknown[]): ConfigPath {
  const chain = [...ancestors, node];
  const path: (string | number)[] = [];
  for (const [depth, ancestor] of chain.entries()) {
    const child = chain[depth + 1];
    if (isPairLike(ancestor)) path.push(isScalar(ancestor.key) ? String(ancestor.key.value) : '');
    else if (isSequenceLike(ancestor) && child !== undefined)
      path.push(ancestor.items.indexOf(child));
  }
  return path;
}

function isPairLike(node: unknown): node is { readonly key: unknown; readonly value: unknown } {
  return (
    typeof node === 'object' &&
    node !== null &&
    'key' in node &&
    'value' in node &&
    !('items' in node)
  );
}

function isSequenceLike(node: unknown): node is { readonly items: readonly unknown[] } {
  return typeof node === 'object' && node !== null && 'items' in node && !isMap(node);
}

export function pathKey(path: ConfigPath): string {
  return JSON.stringify(path.map(String));
}

const unmask = (text: string): string =>
  text.replaceAll(referenceStart, '${').replaceAll(referenceEnd, '}');

/** Line and column (from 1) of a value, or of the nearest block around it when it is not there. */
export function positionOf(
  source: ConfigSource,
  path: ConfigPath,
): { line: number; column: number } {
  for (let length = path.length; length > 0; length -= 1) {
    const node = nodeAt(source.document, path.slice(0, length), length < path.length);
    if (node?.range) return toPosition(source, node.range[0]);
  }
  return { line: 1, column: 1 };
}

/** Line and column of a key itself. */
export function keyPosition(
  source: ConfigSource,
  path: ConfigPath,
): { line: number; column: number } {
  const key = keyNode(source.document, path);
  return key?.range ? toPosition(source, key.range[0]) : positionOf(source, path);
}

/** The value at a path; its key instead where `preferKey`: a missing entry is best shown at its block's name. */
function nodeAt(document: Document.Parsed, path: ConfigPath, preferKey: boolean): Node | undefined {
  const node = document.getIn(path, true);
  if (!isNode(node)) return undefined;
  return (preferKey ? keyNode(document, path) : undefined) ?? node;
}

function keyNode(document: Document.Parsed, path: ConfigPath): Scalar | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(
    (item) => isScalar(item.key) && String(item.key.value) === String(path.at(-1)),
  );
  return isScalar(pair?.key) ? pair.key : undefined;
}

function isNode(node: unknown): node is Node {
  return typeof node === 'object' && node !== null && 'range' in node;
}

function toPosition(source: ConfigSource, offset: number): { line: number; column: number } {
  const { line, col } = source.lines.linePos(offset);
  return { line, column: col };
}
