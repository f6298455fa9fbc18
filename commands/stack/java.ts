import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';

export interface Java {
  /** The program `java`. */
  readonly path: string;
  readonly major: number;
}

/** Where Linux distributions and macOS put their JDKs. */
const jdkFolders = ['/usr/lib/jvm', '/opt', '/Library/Java/JavaVirtualMachines'];

const found = new Map<string, Promise<readonly Java[]>>();

/**
 * The Java to run a server with: the oldest that is new enough, so that the servers meet what they were
 * made for. Looks at JAVA_HOME, PATH and the usual folders. Throws `setup-failed` that names what is there.
 */
export async function findJava(majorMin: number, env: NodeJS.ProcessEnv = process.env) {
  const places = `${env['JAVA_HOME'] ?? ''}|${env['PATH'] ?? ''}`;
  const looked = found.get(places) ?? lookForJava(env);
  found.set(places, looked);
  const all = await looked;
  const fit = all
    .filter(({ major }) => major >= majorMin)
    .toSorted((left, right) => left.major - right.major);
  if (fit[0] !== undefined) return fit[0];
  const there = all.map((java) => `${java.major} (${java.path})`).join(', ') || 'none';
  throw new PipelineError('setup-failed', `Java ${majorMin} or newer is needed; found: ${there}`, {
    hint: `install a JRE ${majorMin} or newer, and set JAVA_HOME if it is in a place of its own`,
  });
}

async function lookForJava(env: NodeJS.ProcessEnv): Promise<readonly Java[]> {
  const home = env['JAVA_HOME'];
  const inPath = (env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const candidates = new Set([
    ...(home === undefined ? [] : [path.join(home, 'bin', 'java')]),
    ...inPath.map((folder) => path.join(folder, 'java')),
    ...(await Promise.all(jdkFolders.map(jdksIn))).flat(),
  ]);
  const versions = await Promise.all([...candidates].map(versionOf));
  return versions.filter((java) => java !== null);
}

async function jdksIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.flatMap((name) => [
    path.join(folder, name, 'bin', 'java'),
    path.join(folder, name, 'Contents', 'Home', 'bin', 'java'),
  ]);
}

async function versionOf(java: string): Promise<Java | null> {
  const result = await runProcess(java, ['-version']).catch(() => null);
  const major = /version "(\d+)/.exec(result?.output ?? '')?.[1];
  return major === undefined ? null : { path: java, major: Number(major) };
}
