/** True while a process with this id runs (or waits for its parent to notice its end). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
