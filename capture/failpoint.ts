/** Steps after which a test may kill the process, to prove that what follows is done again. */
export type FailpointName = 'read' | 'transcode' | 'append' | 'watermark' | 'progress' | 'confirm';

const variable = 'TRIBUTARY_FAILPOINT';
const [armedName, armedCount = '1'] = (process.env[variable] ?? '').split(':', 2);
let passesLeft = Number(armedCount);

/**
 * Does nothing unless `TRIBUTARY_FAILPOINT=<name>[:<count>]` is set: then the process dies, as from
 * kill -9, when it passes that point for the `count`-th time.
 */
export function failpoint(name: FailpointName): void {
  if (name !== armedName) return;
  passesLeft -= 1;
  if (passesLeft <= 0) process.kill(process.pid, 'SIGKILL');
}
