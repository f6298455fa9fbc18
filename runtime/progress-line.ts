export interface Progress {
  readonly label: string;
  readonly done: number;
  /** Unknown: no bar and no time left. */
  readonly total?: number;
  /** What is counted, e.g. "rows". */
  readonly unit: string;
  /** What else there is to say at the moment; the rate goes on however often it changes. */
  readonly note?: string;
}

export interface ProgressLineOptions {
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  /** Gets a line now and then where no terminal shows the live one. */
  readonly log: (line: string) => void;
  /** Pause between two log lines. */
  readonly logEveryMs?: number;
  readonly now?: () => number;
}

export interface ProgressLine extends Disposable {
  update(progress: Progress): void;
  /** Writes a lasting line above the live one. */
  print(text: string): void;
  /** Removes the live line. */
  end(): void;
}

const redrawEveryMs = 80;
const barWidth = 24;

/** On a terminal one live line with bar, rate and time left; elsewhere a log line now and then. */
export function createProgressLine(options: ProgressLineOptions): ProgressLine {
  const {
    stream = process.stderr,
    log,
    logEveryMs = 5_000,
    now = performance.now.bind(performance),
  } = options;
  const isLive = stream.isTTY === true;
  let started: { readonly label: string; readonly atMs: number; readonly done: number } | undefined;
  let shownMs = Number.NEGATIVE_INFINITY;
  let isShown = false;
  const clear = () => {
    if (isShown) stream.write('\r\u001B[2K');
    isShown = false;
  };
  return {
    update(progress) {
      const nowMs = now();
      if (started?.label !== progress.label)
        started = { label: progress.label, atMs: nowMs, done: progress.done };
      if (nowMs - shownMs < (isLive ? redrawEveryMs : logEveryMs)) return;
      shownMs = nowMs;
      const line = renderProgress(progress, {
        elapsedMs: nowMs - started.atMs,
        doneBefore: started.done,
        hasBar: isLive,
      });
      if (!isLive) return log(line);
      stream.write(`\r\u001B[2K${line.slice(0, (stream.columns || 80) - 1)}`);
      isShown = true;
    },
    print(text) {
      clear();
      stream.write(`${text}\n`);
    },
    end: clear,
    [Symbol.dispose]: clear,
  };
}

interface ProgressClock {
  readonly elapsedMs: number;
  /** Count when this process began, so that a resumed job's rate is its own. */
  readonly doneBefore: number;
  readonly hasBar: boolean;
}

/** "snapshot  ███░░░ 42 %  420,000 of 1,000,000 rows  85,000/s  7 s left" */
export function renderProgress(progress: Progress, clock: ProgressClock): string {
  const { label, done, total, unit, note } = progress;
  const perSecond = clock.elapsedMs > 0 ? ((done - clock.doneBefore) * 1000) / clock.elapsedMs : 0;
  const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  const parts = [
    label,
    share !== undefined && clock.hasBar ? bar(share) : undefined,
    share === undefined ? undefined : `${Math.floor(share * 100)} %`,
    total === undefined ? `${group(done)} ${unit}` : `${group(done)} of ${group(total)} ${unit}`,
    perSecond >= 1 ? `${group(perSecond)}/s` : undefined,
    total !== undefined && perSecond > 0 && done < total
      ? `${timeLeft((total - done) / perSecond)} left`
      : undefined,
    note,
  ];
  return parts.filter((part) => part !== undefined).join('  ');
}

function bar(share: number): string {
  const full = Math.floor(share * barWidth);
  return '█'.repeat(full) + '░'.repeat(barWidth - full);
}

function timeLeft(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5_400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

const group = (count: number): string => Math.floor(count).toLocaleString('en-US');
