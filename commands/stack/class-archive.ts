import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { ensureCachedFolder } from '../../runtime/cached-folder.ts';
import type { Java } from './java.ts';
import { type FetchOptions, projectRoot } from './jars.ts';

export interface ClassArchiveOptions extends FetchOptions {
  /** "Kafka": for messages, and in lower case for the folder. */
  readonly what: string;
  readonly java: Java;
  /** The class path. */
  readonly jars: string;
  /** Starts the server in the folder with these flags, and stops it in good order. */
  readonly warmUp: (dir: string, flags: readonly string[]) => Promise<void>;
}

/**
 * Flags with which a JVM finds its classes parsed by an earlier run (https://openjdk.org/jeps/350): Kafka
 * starts in half the time. The archive is made once for a Java and a class path; a JVM that it does not
 * fit starts without it, and so does everything where it cannot be made.
 */
export async function classArchiveFlags(options: ClassArchiveOptions): Promise<readonly string[]> {
  const { what, java, jars, warmUp, signal, onProgress } = options;
  const version = createHash('sha256').update(`${java.path} ${java.major} ${jars}`).digest('hex');
  const archiveIn = (folder: string) => path.join(folder, 'classes.jsa');
  const folder = await ensureCachedFolder({
    ...options,
    projectRoot,
    name: `${what.toLowerCase()}-classes-${version.slice(0, 12)}`,
    what: `the class archive of ${what}`,
    works: async (made) => existsSync(made),
    build: async (made) => {
      onProgress?.(`preparing ${what} for quicker starts (once)`);
      await mkdir(made, { recursive: true });
      const dir = path.join(made, 'warm-up');
      await warmUp(dir, [`-XX:ArchiveClassesAtExit=${archiveIn(made)}`]).catch(async () => {
        signal?.throwIfAborted();
        await rm(archiveIn(made), { force: true });
      });
      await rm(dir, { recursive: true, force: true });
    },
  });
  return existsSync(archiveIn(folder)) ? [`-XX:SharedArchiveFile=${archiveIn(folder)}`] : [];
}
