import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';

export interface Java {
  /** The program `java`. */
  readonly path: string;
  readonly major: number;
}

export interface JavaPlaces {
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Folders of JDKs; where Linux distributions and macOS put them unless given. */
  readonly jdkFolders?: readonly string[];
}

const usualFolders = ['/usr/lib/jvm', '/opt', '/Library/Java/JavaVirtualMachines'];

/**
 * The Java to run a server with: the oldest that is new enough, so that the servers meet what they were
 * made for. Looks at JAVA_HOME, PATH and the usual folders. Throws `setup-failed` that names what is there.
 */
export async function findJava(majorMin: number, places: JavaPlaces = {}): Promise<Java> {
  const all = await lookForJava(places);
  const fit = all
    .filter(({ major }) => major >= majorMin)
    .toSorted((left, right) => left.major - right.major);
  if (fit[0] !== undefined) return fit[0];
  const there = all.map((java) => `${java.major} (${java.path})`).join(', ') || 'none';
  throw new PipelineError('setup-failed', `Java ${majorMin} or newer is needed; found: ${there}`, {
    hint: `install a JRE ${majorMin} or newer, and set JAVA_HOME if it is in a place of its own`,
  });
}

async function lookForJava(places: JavaPlaces): Promise<readonly Java[]> {
  const { env = process.env, jdkFolders = usualFolders } = places;
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
  // Until 8 it counted 1.8.
  const major = /version "(?:1\.)?(\d+)/.exec(result?.output ?? '')?.[1];
  return major === undefined ? null : { path: java, major: Number(major) };
}
