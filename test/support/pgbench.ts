import pg from 'pg';

/**
 * The tables and rows that `pgbench -i` makes (scale 1 = 100,000 accounts; here `accounts` of them):
 * no masters, and a history table without a key. https://www.postgresql.org/docs/current/pgbench.html
 */
export function pgbenchSql(scale: number, accounts = 10_000): string {
  return /* sql */ `
    create table pgbench_branches (bid integer not null primary key, bbalance integer, filler character(88));
    create table pgbench_tellers (tid integer not null primary key, bid integer, tbalance integer, filler character(84));
    create table pgbench_accounts (aid integer not null primary key, bid integer, abalance integer, filler character(84));
    create table pgbench_history (tid integer, bid integer, aid integer, delta integer, mtime timestamp, filler character(22));
    insert into pgbench_branches select i, 0 from generate_series(1, ${scale}) i;
    insert into pgbench_tellers select i, 1 + (i - 1) / 10, 0 from generate_series(1, ${scale * 10}) i;
    insert into pgbench_accounts select i, 1 + (i - 1) / ${accounts}, 0, '' from generate_series(1, ${scale * accounts}) i;`;
}

/** pgbench's default transaction, over and over on one connection until the signal aborts; gives how many. */
export async function runPgbench(
  url: string,
  { scale, accounts = 10_000, signal }: { scale: number; accounts?: number; signal: AbortSignal },
): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const upTo = (count: number) => 1 + Math.floor(Math.random() * count);
  let transactions = 0;
  while (!signal.aborted) {
    const [aid, tid, bid] = [upTo(scale * accounts), upTo(scale * 10), upTo(scale)];
    const delta = upTo(10_001) - 5_001;
    await client.query(`begin;
      update pgbench_accounts set abalance = abalance + ${delta} where aid = ${aid};
      select abalance from pgbench_accounts where aid = ${aid};
      update pgbench_tellers set tbalance = tbalance + ${delta} where tid = ${tid};
      update pgbench_branches set bbalance = bbalance + ${delta} where bid = ${bid};
      insert into pgbench_history (tid, bid, aid, delta, mtime) values (${tid}, ${bid}, ${aid}, ${delta}, current_timestamp);
      end;`);
    transactions += 1;
  }
  await client.end();
  return transactions;
}
