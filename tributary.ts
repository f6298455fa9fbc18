#!/usr/bin/env node
import { runCli } from './commands/run-cli.ts';

// `tributary tail … | head` closes our output: that is an end, not a failure.
process.stdout.on('error', () => process.exit());
// A supervisor that was killed takes the log's pipe along; the drain goes on without.
process.stderr.on('error', () => {});

process.exitCode = await runCli(process.argv.slice(2), process);
// The channel to a supervisor would keep the process alive.
if (process.connected) process.disconnect();
// Whatever is still open now was forgotten by someone: say so, but do not hang.
const leftoverGraceMs = 3_000;
setTimeout(() => {
  const leftovers = process
    .getActiveResourcesInfo()
    .filter((name) => !/^(TTY|Pipe)Wrap$/.test(name));
  if (leftovers.length > 0)
    process.stderr.write(`still open at the end: ${leftovers.join(', ')}\n`);
  process.exit();
}, leftoverGraceMs).unref();
