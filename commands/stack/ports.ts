import { once } from 'node:events';
import { createServer } from 'node:net';
import { PipelineError } from '../../runtime/errors.ts';

/**
 * Below the ports that systems give to outgoing connections: a server that was killed has to find its
 * port free again, although every client has been knocking at it meanwhile.
 */
const portMin = 15_000;
const portsInAll = 17_000;
/** Processes that start servers at the same time look in different places: a port is taken seconds later. */
const portsPerProcess = 100;
const attemptsMax = 1_000;

let next = process.pid * portsPerProcess;

/** Ports of the loopback interface that are free now, each given once, for servers that keep them. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  for (let attempt = 0; ports.length < count; attempt += 1) {
    if (attempt === attemptsMax)
      throw new PipelineError('setup-failed', `no ${count} free ports on 127.0.0.1`);
    const port = portMin + (next % portsInAll);
    next += 1;
    if (await isFree(port)) ports.push(port);
  }
  return ports;
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
