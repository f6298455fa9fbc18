/** The first sample of a metric that a process serves there, with labels that hold the text; 0 without one. */
export async function metricOf(port: number, name: string, labels = ''): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => null);
  const lines = ((await response?.text()) ?? '').split('\n');
  const isSample = (line: string) => line.startsWith(`${name} `) || line.startsWith(`${name}{`);
  const sample = lines.find((line) => isSample(line) && line.includes(labels));
  return Number(sample?.slice(sample.lastIndexOf(' ') + 1) ?? 0);
}
