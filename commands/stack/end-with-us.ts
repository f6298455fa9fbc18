import type { ChildProcess } from 'node:child_process';

const children = new Map<ChildProcess, NodeJS.Signals>();
let isListening = false;

/**
 * Sends a child process the signal when this process ends before it. The servers we start have sessions of
 * their own, so nobody else does.
 */
export function endWithUs(child: ChildProcess, signal: NodeJS.Signals): void {
  children.set(child, signal);
  child.once('exit', () => children.delete(child));
  if (isListening) return;
  isListening = true;
  process.on('exit', () => {
    for (const [running, last] of children) {
      running.kill(last);
      // A frozen process would never see it.
      running.kill('SIGCONT');
    }
  });
}
