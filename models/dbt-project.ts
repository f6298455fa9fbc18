import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { GeneratedFile } from './staging/sql-text.ts';

const projectParts = ['dbt_project.yml', 'macros', 'models', 'tests'];

export interface DbtProjectInput {
  /** The checkout's `dbt/`: read only, so that a run never dirties it. */
  readonly source: string;
  /** Where the project is put together: the parts of `source` and the generated files. */
  readonly folder: string;
  readonly generated: readonly GeneratedFile[];
}

/**
 * Puts the dbt project together. Only files that differ are written, and files that are no longer there
 * are removed, so that dbt reads again only what changed.
 */
export async function writeDbtProject({
  source,
  folder,
  generated,
}: DbtProjectInput): Promise<void> {
  const wanted = new Map(generated.map((file) => [path.normalize(file.path), file.text]));
  for (const part of projectParts) {
    for (const file of await filesBelow(source, part)) {
      wanted.set(file, await readFile(path.join(source, file), 'utf8'));
    }
  }
  for (const part of projectParts) {
    for (const file of await filesBelow(folder, part)) {
      if (!wanted.has(file)) await rm(path.join(folder, file));
    }
  }
  for (const [file, text] of wanted) await writeIfDifferent(path.join(folder, file), text);
}

/** Relative to `root`; none when it does not exist. */
async function filesBelow(root: string, part: string): Promise<readonly string[]> {
  if (path.extname(part) !== '') return [part];
  const found = await readdir(path.join(root, part), {
    recursive: true,
    withFileTypes: true,
  }).catch(() => []);
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
}

/** Writes a file, and its folders, unless it has this text already. */
export async function writeIfDifferent(file: string, text: string): Promise<void> {
  const before = await readFile(file, 'utf8').catch(() => null);
  if (before === text) return;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
}
