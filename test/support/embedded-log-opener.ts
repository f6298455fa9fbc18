import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import type { Log } from '../../log/log.ts';

/** Opens the embedded log whose file `place` names; for tests and the processes they start. */
export function openLog(place: string): Promise<Log> {
  return openEmbeddedLog({ path: place });
}
