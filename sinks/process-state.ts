import { hostname } from 'node:os';

/** A process runs under that id on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, but is another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * True when a process that wrote its name down has certainly ended: it was of this machine, and its id
 * is nobody's or this process's own (a container's processes have the same ids in every run).
 */
export function isEnded({ host, pid }: { readonly host: string; readonly pid: number }): boolean {
  return host === hostname() && (pid === process.pid || !isAlive(pid));
}
