import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commandTable } from './commands/command-table.ts';

const root = import.meta.dirname;
/** Made by tools, or by others: not ours to keep tidy. */
const foreign =
  /^(node_modules|\.git|\.cache|data|dbt\/(target|logs|dbt_packages)|test\/fixtures)(\/|$)|^package-lock\.json$/;

const files = globSync('**/*.{ts,mjs,md,json,yaml,yml,sql}', {
  cwd: root,
  exclude: (path) => foreign.test(path),
})
  .filter((path) => !foreign.test(path))
  .toSorted();
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const code = files.filter((path) => /\.(ts|mjs)$/.test(path));
const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.startsWith('test/');
const tests = code.filter(isTest);

/** Files and lines that hold what the pattern finds, as "file:line". */
function findLines(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}`] : [])),
  );
}

describe('files', () => {
  test('none is longer than its limit', () => {
    const linesMax = (path: string) => (isTest(path) ? 600 : 400);
    const long = code.filter((path) => read(path).trimEnd().split('\n').length > linesMax(path));
    expect(long).toEqual([]);
  });

  test('are named in kebab-case after what they hold, never after a drawer', () => {
    const drawer = /(^|-)(utils?|helpers?|common|misc|managers?|handlers?|index)(-|$)/;
    const stems = code.map(
      (path) =>
        [path, basename(path).replace(/(\.(test|config|bench|d))*\.(ts|mjs)$/, '')] as const,
    );
    const odd = stems.filter(
      ([, stem]) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem) || drawer.test(stem),
    );
    expect(odd.map(([path]) => path)).toEqual([]);
  });

  test('hold nothing that was put off, switched off or left on', () => {
    const putOff = new RegExp(String.raw`\b(${'TO'}DO|${'FIX'}ME)\b`);
    // A suite hands a gap and its written reason to the runner by reference; a call is one that was forgotten.
    const switched = /\b(test|it|describe|suite)(\.\w+)*\.(only|skip|todo|fails)\(/;
    expect(findLines(code, putOff)).toEqual([]);
    expect(findLines(tests, switched)).toEqual([]);
  });

  test('name no place of the machine they were written on', () => {
    expect(findLines(files, /(^|[^\w.])\/(work|root|home\/\w+|Users\/\w+)\//)).toEqual([]);
  });
});

describe('documents', () => {
  test('the README is read in one go', () => {
    expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(120);
  });

  test('every dependency has its reason in CONTRIBUTING.md, and no other has one', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Readonly<
      Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>
    >;
    const used = Object.keys({ ...dependencies, ...devDependencies });
    const lines = [...read('CONTRIBUTING.md').matchAll(/^- (`[^`]+`(?:, `[^`]+`)*): \S/gm)];
    const reasons = lines.flatMap((match) => (match[1] ?? '').replaceAll('`', '').split(', '));
    const isPackage = (name: string) => /^(@[a-z0-9-]+\/)?[a-z0-9.-]+$/.test(name);
    expect(used.filter((name) => !reasons.includes(name))).toEqual([]);
    expect(reasons.filter((name) => isPackage(name) && !used.includes(name))).toEqual([]);
  });

  test('links between documents lead somewhere', () => {
    const broken = files
      .filter((path) => path.endsWith('.md'))
      .flatMap((path) =>
        [...read(path).matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)]
          .map((match) => match[1] ?? '')
          .filter((target) => globSync(join(path, '..', target), { cwd: root }).length === 0)
          .map((target) => `${path}: ${target}`),
      );
    expect(broken).toEqual([]);
  });
});

test('every command is run by some test', () => {
  const texts = tests.filter((path) => path !== 'tidy.test.ts').map(read);
  const runsCommands = texts.filter((text) =>
    /\brun(Cli|CommandLine)\b|command-line\.ts|tributary\.ts/.test(text),
  );
  const untested = commandTable.filter(
    ({ name }) => !runsCommands.some((text) => text.includes(`'${name}'`)),
  );
  expect(untested.map(({ name }) => name)).toEqual([]);
});
