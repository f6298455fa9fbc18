import path from 'node:path';
import { ensurePythonEnvironment, ownPythonEnv } from '../../models/python-environment.ts';
import type { Engine } from '../../models/staging/column-family.ts';
import { runProcess } from '../../runtime/run-process.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');

/** Runs dbt in a project folder that holds its own profile; throws with what it said. */
export async function runDbt(
  engine: Engine,
  folder: string,
  words: readonly string[],
): Promise<void> {
  const { python } = await ensurePythonEnvironment({ projectRoot, engine });
  const where = ['--project-dir', folder, '--profiles-dir', folder];
  const { exitCode, output } = await runProcess(
    python,
    ['-m', 'dbt.cli.main', '--no-use-colors', ...words, ...where],
    { cwd: folder, env: { ...ownPythonEnv(process.env), DO_NOT_TRACK: '1' } },
  );
  if (exitCode !== 0) throw new Error(`dbt ended with ${exitCode}:\n${output.slice(-6000)}`);
}
