// npm run bench [-- capture|latency|load|encode ...]: all of them unless named. One JSON line a figure.
import { benchEncode } from './bigquery-encode.ts';
import { benchCapture } from './capture-throughput.ts';
import { benchLoad } from './log-to-lake.ts';
import { benchLatency } from './latency.ts';

const benches: Readonly<Record<string, () => Promise<void>>> = {
  capture: benchCapture,
  load: benchLoad,
  latency: benchLatency,
  encode: benchEncode,
};
const wanted = process.argv.slice(2);
for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length === 0 || wanted.includes(name)) await bench();
}
