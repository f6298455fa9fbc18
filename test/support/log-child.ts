import { writeSync } from 'node:fs';
import type { Log, LogRecord } from '../../log/log.ts';

// A process that uses a log until it is killed or done; the other end of test/support/log-process.ts.
// Arguments: role, URL of the module that opens the log, place of the log, topic, number.

const [role, opener = '', place = '', topic = '', number = '0'] = process.argv.slice(2);
const { openLog } = (await import(opener)) as { openLog: (place: string) => Promise<Log> };
const log = await openLog(place);

if (role === 'append') await appendForEver();
else await readUntil(Number(number));
await log.close();

/** Synchronous, so that what was printed before a kill -9 has arrived. */
function print(line: string): void {
  writeSync(1, `${line}\n`);
}

/**
 * Appends batches of rising size to all partitions, three appends under way at a time, and prints
 * "partition end" for everything acknowledged. A record's value begins with its own offset.
 */
async function appendForEver(): Promise<never> {
  const ranges = (await log.ranges([topic])).get(topic) ?? [];
  const next = ranges.map(({ end }) => end);
  const underWay: Promise<void>[] = [];
  for (let round = 0; ; round += 1) {
    const batches = next.map((start, partition) => {
      const count = 1 + ((round * 7 + partition) % 60);
      next[partition] = start + count;
      return { topic, partition, records: numbered(start, count) };
    });
    underWay.push(
      log.append(batches).then((ends) => {
        for (const { partition, end } of ends) print(`${partition} ${end}`);
      }),
    );
    if (underWay.length >= 3) await underWay.shift();
  }
}

function numbered(start: number, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    key: Buffer.from(`key ${start + index}`),
    value: Buffer.from(`${start + index}:`.padEnd(200, 'x')),
    headers: [['place', Buffer.from(`${index}/${count}`)]],
    timestampMs: 1_700_000_000_000 + start + index,
  }));
}

/** Reads partition 0 from its start until `end`; prints the offset after each read. */
async function readUntil(end: number): Promise<void> {
  let offset = 0;
  print('ready');
  while (offset < end) {
    const records = await log.read(
      { topic, partition: 0, offset },
      { bytesMax: Number.MAX_SAFE_INTEGER, waitMs: 10_000 },
    );
    for (const record of records) {
      if (record.offset !== offset) throw new Error(`offset ${record.offset}, not ${offset}`);
      offset += 1;
    }
    print(String(offset));
  }
}
