import { findJava } from '../../commands/stack/java.ts';
import { runProcess } from '../../runtime/run-process.ts';

/**
 * What the peers need and this machine lacks, or null. A build machine is never spared: there the
 * comparison would be missed by nobody.
 */
export async function missingTool(): Promise<string | null> {
  if (process.env['CI'] !== undefined) return null;
  const lacks = (what: string) => (): string => what;
  const has = (): null => null;
  const java = await findJava(21).then(has, lacks('Java 21'));
  return java ?? (await runProcess('mvn', ['-version']).then(has, lacks('Maven')));
}
