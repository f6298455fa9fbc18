import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { BatchWriter } from './batch-writer.ts';
import { openDatabase } from './database.ts';
import { translate, translated } from './errors.ts';
import type { EncodedBatch, PlainError, WriterOptions } from './writer-protocol.ts';
import type { WriterReply, WriterRequest } from './writer-protocol.ts';

/**
 * The writer thread: SQLite and fsync block here, not where changes are decoded. Whatever has queued
 * up while one transaction ran goes into the next.
 */

/** Appends of one transaction, at most, unless the first alone is larger. */
const groupBytesMax = 16 * 1024 * 1024;
const expireIntervalMs = 60_000;

type AppendRequest = Extract<WriterRequest, { kind: 'append' }>;

const options = workerData as WriterOptions;
assert(parentPort !== null, 'the writer runs in a thread of its own');
const port = parentPort;
const queue: WriterRequest[] = [];
let isScheduled = false;
let isClosed = false;
/** After the first failed append nothing is accepted: a later one would leave a hole before it. */
let poison: PlainError | undefined;

const writer = start();
const expireTimer =
  options.retention === null ? undefined : setInterval(() => tidyBy('expire'), expireIntervalMs);

function start(): BatchWriter | undefined {
  try {
    return translated(options.path, () => {
      const opened = new BatchWriter(openDatabase(options.path, { readOnly: false }), options);
      port.on('message', receive);
      reply({ kind: 'ready' });
      return opened;
    });
  } catch (error) {
    reply({ kind: 'failed', id: null, error: toPlain(error), poisons: true });
    return undefined;
  }
}

function receive(request: WriterRequest): void {
  queue.push(request);
  if (isScheduled) return;
  isScheduled = true;
  // After all messages that have already arrived, so that they share a transaction.
  setImmediate(drain);
}

function drain(): void {
  isScheduled = false;
  while (queue.length > 0) {
    const group = takeAppends();
    if (group.length > 0) writeGroup(group);
    else handle(queue.shift());
  }
  tidyBy('tidy');
}

/** The appends at the head of the queue, as many as one transaction takes. */
function takeAppends(): AppendRequest[] {
  const group: AppendRequest[] = [];
  let bytes = 0;
  while (queue[0]?.kind === 'append') {
    const request = queue[0];
    bytes += request.batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
    if (group.length > 0 && bytes > groupBytesMax) break;
    group.push(request);
    queue.shift();
  }
  return group;
}

function writeGroup(group: readonly AppendRequest[]): void {
  const ends = poison === undefined ? tryAppend(group.map(({ batches }) => batches)) : undefined;
  for (const [index, { id }] of group.entries()) {
    const groupEnds = ends?.[index];
    if (groupEnds !== undefined) reply({ kind: 'done', id, ends: groupEnds });
    else if (poison !== undefined) reply({ kind: 'failed', id, error: poison, poisons: true });
  }
}

function tryAppend(appends: readonly (readonly EncodedBatch[])[]) {
  try {
    return writer?.append(appends);
  } catch (error) {
    poison = toPlain(error);
    return undefined;
  }
}

function handle(request: WriterRequest | undefined): void {
  if (request?.kind === 'create-topics') {
    try {
      writer?.createTopics(request.specs);
      reply({ kind: 'done', id: request.id, ends: [] });
    } catch (error) {
      reply({ kind: 'failed', id: request.id, error: toPlain(error), poisons: false });
    }
  } else if (request?.kind === 'close') {
    isClosed = true;
    clearInterval(expireTimer);
    writer?.close();
    port.close();
  }
}

/** Runs what can wait. Nothing is to be answered, so a failure shows with the next append. */
function tidyBy(step: 'tidy' | 'expire'): void {
  if (poison !== undefined || isClosed) return;
  try {
    writer?.[step]();
  } catch (error) {
    const plain = toPlain(error);
    // A disk that is still full then is met by the append itself, or has been mended.
    if (plain.kind !== 'log-unwritable') poison = plain;
  }
}

function reply(message: WriterReply): void {
  port.postMessage(message);
}

function toPlain(error: unknown): PlainError {
  const known = translate(options.path, error);
  if (known instanceof PipelineError) {
    const { kind, message, hint, context } = known;
    return { kind, message, hint, context };
  }
  const message = `log ${options.path}: ${known instanceof Error ? known.message : String(known)}`;
  return { kind: null, message, hint: '', context: {} };
}
