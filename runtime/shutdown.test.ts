import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { listenForShutdown } from './shutdown.ts';

function setUp(graceMs = 60_000) {
  const exit = vi.fn<(code: number) => void>();
  const source = Object.assign(new EventEmitter(), { exit });
  const said: string[] = [];
  let nowMs = 0;
  const shutdown = listenForShutdown({
    graceMs,
    source,
    notify: (text) => said.push(text),
    now: () => nowMs,
  });
  const press = (signal: string, afterMs = 1_000) => {
    nowMs += afterMs;
    source.emit(signal);
  };
  return { exit, source, said, shutdown, press };
}

test('the first signal drains, the second ends the process with 130', () => {
  const { exit, said, shutdown, press } = setUp();
  press('SIGINT');
  expect(shutdown.signal.aborted).toBe(true);
  expect(exit).not.toHaveBeenCalled();
  press('SIGTERM');
  expect(exit).toHaveBeenCalledWith(130);
  expect(said).toMatchInlineSnapshot(`
    [
      "SIGINT: finishing what is in hand (once more stops at once)",
      "SIGTERM: stopped without finishing; the next start continues where it is safe",
    ]
  `);
});

test('one Ctrl-C that arrives several times is still one', () => {
  const { exit, press } = setUp();
  press('SIGINT');
  press('SIGINT', 5);
  press('SIGINT', 100);
  expect(exit).not.toHaveBeenCalled();
});

test('a drain that outlasts its grace is given up', async () => {
  const { exit, press } = setUp(1);
  press('SIGTERM');
  await vi.waitFor(() => expect(exit).toHaveBeenCalledWith(130));
});

test('a supervisor that is gone drains its child', () => {
  const { shutdown, press } = setUp();
  press('disconnect');
  expect(shutdown.signal.aborted).toBe(true);
});

test('nothing listens any more once it is disposed', () => {
  const { source, shutdown } = setUp();
  shutdown[Symbol.dispose]();
  expect(source.eventNames()).toEqual([]);
});
