import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePorts } from './ports.ts';

test('a port is given once, is free, and is none that the system gives to outgoing connections', async () => {
  const ports = [...(await freePorts(5)), ...(await freePorts(5))];
  expect(new Set(ports).size).toBe(10);
  for (const port of ports) {
    expect(port).toBeGreaterThanOrEqual(15_000);
    expect(port).toBeLessThan(32_000);
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
  }
});

test('a port that somebody listens at is passed over', async () => {
  const [before = 0] = await freePorts(1);
  const server = createServer().listen(before + 1, '127.0.0.1');
  await once(server, 'listening');
  expect((await freePorts(1))[0]).toBeGreaterThan(before + 1);
  server.close();
});
