import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { openLake } from '../../sinks/duckdb/client.ts';
import { borrowLake } from '../../sinks/duckdb/lease.ts';
import { loadBank } from './bank.ts';

/*
 * A process of its own for tests of what happens to a lake when processes die or compete.
 *   node duckdb-child.ts load <path>     loads bank transfers until it is killed
 *   node duckdb-child.ts hold <path>     has the file open until it is killed
 *   node duckdb-child.ts borrow <path>   borrows the lake, says so, and keeps it until a line comes in
 */

const [, , role, path = ''] = process.argv;
const say = (line: string) => process.stdout.write(`${line}\n`);
const forEver = () => new Promise<never>(() => setInterval(() => {}, 60_000));
const nextLine = () => new Promise((resolve) => process.stdin.once('data', resolve));

if (role === 'load') {
  const sink = createDuckdbSink({ path, walBytesMax: 1024 * 1024 });
  await loadBank(sink, await sink.open(), async (transaction) => {
    say(`applied ${transaction}`);
    return true;
  });
} else if (role === 'hold') {
  await openLake(path);
  say('held');
  await forEver();
} else {
  await borrowLake(path, { purpose: 'test', waitMs: 20_000 }, async (grant) => {
    const lake = await openLake(path);
    await lake.run('create table if not exists main.made_by_borrower (n integer)');
    say(`borrowed ${grant?.applied ?? 'directly'}`);
    await nextLine();
    await lake.close();
  });
  say('given back');
  process.exit(0);
}
