import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';

import { assert } from '../runtime/assert.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { Lsn } from '../schemas/lsn.ts';

export interface SpoolOptions {
  /** A folder of this capture alone: emptied at start. */
  readonly path: string;
  /** Bytes of one transaction kept in memory before they are written. */
  readonly bufferBytes?: number;
  /** Files held open at once; others are opened again when needed. */
  readonly openFilesMax?: number;
}

/** One spooled message, in the order in which it was added. */
export interface SpooledMessage {
  readonly bytes: Buffer;
  readonly lsn: Lsn;
}

interface SpoolFile {
  readonly path: string;
  descriptor: number | null;
  buffered: Buffer[];
  bufferedBytes: number;
  writtenBytes: number;
  /** Rolled-back subtransactions, whose messages are skipped when read. */
  readonly aborted: Set<number>;
}

/** Before each message: its length, the xid of its (sub)transaction, its LSN. */
const frameHeaderBytes = 16;
const readBytes = 1 << 20;

/**
 * Messages of in-progress transactions, one file a top-level transaction: memory stays flat however
 * large they grow. Temporary: after a crash PostgreSQL sends them again from the start.
 */
export class Spool {
  readonly #options: Required<SpoolOptions>;
  /** In order of use: the first open file is the one unused for longest. */
  readonly #files = new Map<number, SpoolFile>();
  #bytes = 0;

  constructor(options: SpoolOptions) {
    this.#options = { bufferBytes: 1 << 18, openFilesMax: 32, ...options };
  }

  /** Creates or empties the folder. Throws `log-unwritable`. */
  async open(): Promise<void> {
    await this.close();
    try {
      await mkdir(this.#options.path, { recursive: true });
    } catch (error) {
      throw this.#unwritable(error);
    }
  }

  /** Bytes of all transactions now held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a message of transaction `topXid`; the bytes are copied. */
  add(topXid: number, xid: number, message: SpooledMessage): void {
    const file = this.#file(topXid);
    const frame = Buffer.allocUnsafe(frameHeaderBytes + message.bytes.length);
    frame.writeUInt32BE(message.bytes.length, 0);
    frame.writeUInt32BE(xid, 4);
    frame.writeBigUInt64BE(message.lsn, 8);
    message.bytes.copy(frame, frameHeaderBytes);
    file.buffered.push(frame);
    file.bufferedBytes += frame.length;
    this.#bytes += frame.length;
    if (file.bufferedBytes >= this.#options.bufferBytes) this.#write(file);
  }

  /** Everything of subtransaction `xid` was rolled back. */
  abort(topXid: number, xid: number): void {
    this.#files.get(topXid)?.aborted.add(xid);
  }

  /** Drops a transaction and its file. */
  drop(topXid: number): void {
    const file = this.#files.get(topXid);
    if (file === undefined) return;
    this.#files.delete(topXid);
    this.#bytes -= file.writtenBytes + file.bufferedBytes;
    this.#closeFile(file);
    rmSync(file.path, { force: true });
  }

  /** What survives of a transaction, in order, in blocks of bounded size. */
  async *read(topXid: number): AsyncGenerator<readonly SpooledMessage[]> {
    const file = this.#files.get(topXid);
    if (file === undefined) return;
    this.#write(file);
    this.#closeFile(file);
    await using handle = await open(file.path, 'r');
    let rest: Buffer = Buffer.alloc(0);
    for (let position = 0; position < file.writtenBytes;) {
      const wanted = Math.max(readBytes, missingBytes(rest));
      const block = Buffer.allocUnsafe(wanted);
      const { bytesRead } = await handle.read(block, 0, wanted, position);
      assert(bytesRead > 0, 'a spool file is as long as what was written to it');
      position += bytesRead;
      const whole = Buffer.concat([rest, block.subarray(0, bytesRead)]);
      const { messages, used } = parseFrames(whole, file.aborted);
      rest = whole.subarray(used);
      yield messages;
    }
  }

  /** Drops everything. */
  async close(): Promise<void> {
    for (const file of this.#files.values()) this.#closeFile(file);
    this.#files.clear();
    this.#bytes = 0;
    await rm(this.#options.path, { recursive: true, force: true });
  }

  #file(topXid: number): SpoolFile {
    const known = this.#files.get(topXid);
    if (known !== undefined) return known;
    const file: SpoolFile = {
      path: path.join(this.#options.path, `${topXid}.spool`),
      descriptor: null,
      buffered: [],
      bufferedBytes: 0,
      writtenBytes: 0,
      aborted: new Set(),
    };
    this.#files.set(topXid, file);
    return file;
  }

  #write(file: SpoolFile): void {
    if (file.bufferedBytes === 0) return;
    const block = Buffer.concat(file.buffered);
    try {
      file.descriptor ??= this.#openFile(file);
      for (let written = 0; written < block.length;) {
        written += writeSync(file.descriptor, block, written);
      }
    } catch (error) {
      throw this.#unwritable(error);
    }
    file.writtenBytes += block.length;
    file.buffered = [];
    file.bufferedBytes = 0;
  }

  #openFile(file: SpoolFile): number {
    const opened = [...this.#files.values()].filter((other) => other.descriptor !== null);
    if (opened.length >= this.#options.openFilesMax && opened[0] !== undefined) {
      this.#closeFile(opened[0]);
    }
    return openSync(file.path, 'a');
  }

  #closeFile(file: SpoolFile): void {
    if (file.descriptor !== null) closeSync(file.descriptor);
    file.descriptor = null;
  }

  #unwritable(cause: unknown): PipelineError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new PipelineError(
      'log-unwritable',
      `cannot write the spool folder ${this.#options.path}: ${reason}`,
      { hint: 'free space there or mend its permissions; capture resumes by itself', cause },
    );
  }
}

function missingBytes(rest: Buffer): number {
  if (rest.length < frameHeaderBytes) return 0;
  return frameHeaderBytes + rest.readUInt32BE(0) - rest.length;
}

function parseFrames(
  bytes: Buffer,
  aborted: ReadonlySet<number>,
): { readonly messages: readonly SpooledMessage[]; readonly used: number } {
  const messages: SpooledMessage[] = [];
  let used = 0;
  while (bytes.length - used >= frameHeaderBytes) {
    const end = used + frameHeaderBytes + bytes.readUInt32BE(used);
    if (end > bytes.length) break;
    if (!aborted.has(bytes.readUInt32BE(used + 4))) {
      messages.push({
        bytes: bytes.subarray(used + frameHeaderBytes, end),
        lsn: bytes.readBigUInt64BE(used + 8),
      });
    }
    used = end;
  }
  return { messages, used };
}
