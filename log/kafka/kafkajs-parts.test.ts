import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { silentLogger } from './kafkajs-parts.ts';

interface Queue {
  pending: unknown[];
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
  canSendSocketRequestImmediately(): boolean;
  destroy(): void;
}

function newQueue(): Queue {
  const load = createRequire(import.meta.url);
  const RequestQueue = load('kafkajs/src/network/requestQueue') as new (options: object) => Queue;
  return new RequestQueue({ logger: silentLogger, maxInFlightRequests: 1, requestTimeout: 1_000 });
}

describe("the queue of kafkajs' connections", () => {
  it('sets no timer while nothing waits', () => {
    const queue = newQueue();
    queue.checkPendingRequests();
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });

  it('never waits for less than no time', () => {
    const queue = newQueue();
    queue.pending.push({ expectResponse: true });
    for (const throttledUntil of [-1, 0, Date.now() - 1_000, Date.now() + 60_000]) {
      queue.throttledUntil = throttledUntil;
      queue.canSendSocketRequestImmediately = () => false;
      queue.checkPendingRequests();
      const timer = queue.throttleCheckTimeoutId as
        | (NodeJS.Timeout & { _idleTimeout: number })
        | null;
      expect(timer?._idleTimeout).toBeGreaterThanOrEqual(10);
      queue.destroy();
    }
  });
});
