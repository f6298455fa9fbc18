import pc from 'picocolors';
import { createProgressLine, type Progress } from '../../runtime/progress-line.ts';

const nameWidth = 16;
const textWidth = 62;

/** The demo's steps: one lasting line each, with a live line below while it is under way. */
export interface Stages extends Disposable {
  /** Runs a step; its result's `text` becomes the line. */
  run<T extends { readonly text: string }>(name: string, work: () => Promise<T>): Promise<T>;
  progress(progress: Progress): void;
}

export function createStages(stream: NodeJS.WriteStream): Stages {
  const line = createProgressLine({ stream, log: (text) => stream.write(`    ${text}\n`) });
  return {
    async run(name, work) {
      const startedAt = performance.now();
      try {
        const result = await work();
        const seconds = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
        line.print(
          `${pc.green('✓')} ${pc.bold(name.padEnd(nameWidth))} ${result.text.padEnd(textWidth)} ${pc.dim(seconds.padStart(7))}`,
        );
        return result;
      } catch (error) {
        line.print(`${pc.red('✗')} ${pc.bold(name)}`);
        throw error;
      }
    },
    progress: (progress) => line.update(progress),
    [Symbol.dispose]: () => line.end(),
  };
}

export const grouped = (count: number): string => Math.round(count).toLocaleString('en-US');
