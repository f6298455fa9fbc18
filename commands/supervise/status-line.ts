import { Writable } from 'node:stream';

export interface StatusLine extends Disposable {
  /** What a role says of itself; shown on the one live line. */
  set(role: string, text: string): void;
  /** A stream for log lines that keeps the live line below them. */
  readonly logStream: Writable & { readonly isTTY: boolean };
}

/** One live line at the bottom of a terminal, the log above it; without a terminal the log alone. */
export function createStatusLine(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number },
): StatusLine {
  const isTTY = stream.isTTY === true;
  const texts = new Map<string, string>();
  let isShown = false;
  const clear = () => {
    if (isShown) stream.write('\r\u001B[2K');
    isShown = false;
  };
  const draw = () => {
    if (!isTTY || texts.size === 0) return;
    const line = [...texts].map(([role, text]) => `${role}: ${text}`).join(' · ');
    stream.write(`\r\u001B[2K${line.slice(0, (stream.columns || 80) - 1)}`);
    isShown = true;
  };
  const logStream = new Writable({
    decodeStrings: false,
    write(chunk: Buffer | string, _encoding, done) {
      clear();
      stream.write(chunk);
      draw();
      done();
    },
  });
  return {
    set(role, text) {
      texts.set(role, text);
      draw();
    },
    logStream: Object.assign(logStream, { isTTY }),
    [Symbol.dispose]: clear,
  };
}
