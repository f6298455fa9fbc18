import { once } from 'node:events';
import { createServer } from 'node:net';
import { PipelineError } from '../../runtime/errors.ts';

/**
 * Below the ports that systems give to outgoing connections: a server that was killed has to find its
 * port free again, although every client has been knocking at it meanwhile.
 */
const portMin = 15_000;
const portMax = 32_000;
const attemptsMax = 200;

/** Ports of the loopback interface that are free now, each another, for servers that keep them. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count; attempt += 1) {
    if (attempt === attemptsMax)
      throw new PipelineError('setup-failed', `no ${count} free ports on 127.0.0.1`);
    const port = portMin + Math.floor(Math.random() * (portMax - portMin));
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  probe.listen(port, '127.0.0.1');
  const isListening = await once(probe, 'listening').then(
    () => true,
    () => false,
  );
  if (!isListening) return false;
  probe.close();
  await once(probe, 'close');
  return true;
}
