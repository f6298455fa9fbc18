// npm run bench:kafka [-- capture ...] [--rows N]: all of it unless named. One JSON line a figure.
import { parseArgs } from 'node:util';
import { benchKafkaCapture } from './kafka-throughput.ts';

const rowsDefault = '1000000';

const { values } = parseArgs({
  options: { rows: { type: 'string', default: rowsDefault } },
  allowPositionals: true,
});
await benchKafkaCapture(Number(values.rows));
