import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { commandTable } from './command-table.ts';
import { runCli } from './run-cli.ts';

/** Runs a command line inside this process. */
async function run(words: readonly string[], env: Record<string, string> = {}) {
  const collect = () => {
    const chunks: string[] = [];
    const stream = new Writable({
      write: (chunk, _encoding, done) => (chunks.push(String(chunk)), done()),
    });
    return { stream, text: () => chunks.join('') };
  };
  const [stdout, stderr] = [collect(), collect()];
  const exit = await runCli(words, { stdout: stdout.stream, stderr: stderr.stream, env });
  return { exit, stdout: stdout.text(), stderr: stderr.text() };
}

/** Commands whose screens are held word for word. */
const ownCommands = [
  'stack',
  'check',
  'run',
  'capture',
  'sink',
  'models',
  'status',
  'tail',
  'config',
];

describe('help', () => {
  test('the first screen names every command in a line', async () => {
    const { exit, stdout } = await run(['--help']);
    expect(exit).toBe(0);
    expect(stdout.split('\n').length).toBeLessThanOrEqual(40);
    for (const { name, summary } of commandTable)
      expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'));
    expect(await run([])).toEqual({ exit, stdout, stderr: '' });
    expect(await run(['-h'])).toEqual({ exit, stdout, stderr: '' });
  });

  test.each(commandTable.map(({ name }) => name))(
    'that of %s fits a screen and shows one real example',
    async (name) => {
      const { exit, stdout, stderr } = await run([name, '--help']);
      expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
      const lines = stdout.split('\n');
      expect(lines.length).toBeLessThanOrEqual(40);
      expect(lines.filter((line) => line.length > 110)).toEqual([]);
      expect(stdout).toMatch(new RegExp(`^Example: tributary ${name}\\b`, 'm'));
      expect(stdout).toMatch(new RegExp(`^Usage: tributary ${name}\\b`, 'm'));
    },
  );

  test('reads as follows', async () => {
    const screens = [['--help'], ...ownCommands.map((name) => [name, '--help'])].map((words) =>
      run(words),
    );
    const texts = (await Promise.all(screens)).map(({ stdout }) => stdout);
    expect(texts.join('\n────\n')).toMatchInlineSnapshot(`
      "tributary: the changes of a PostgreSQL database, exactly once, in a data lake

      Usage: tributary <command> [options]

      Commands
        demo                  the whole job on a sample business, with nothing installed
        stack                 run PostgreSQL, Kafka and a schema registry on this machine
        init                  read a database; write configuration, mapping and SQL
        check                 examine the source and what it lacks; changes nothing
        run                   run everything configured, one process a role, supervised
        capture               stream the changes of the source into the log
        sink                  load the log into one lake
        models                build the lineage and feature tables
        status                show how far each stage is behind the source
        verify                compare source and lake, value for value, at one LSN
        tail                  print the changes of a table as they come
        config                show the configuration as it is understood, or every field

      Options of every command
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent
        --help                this screen, or that of a command
        --version             the version

      Exit codes: 0 done, 1 defect, 2 usage or configuration, 3 source, 4 log, 5 sink,
        6 models or set-up, 7 differences found, 130 stopped by Ctrl-C before it was done

      Example: tributary run --config tributary.yaml

      ────
      PostgreSQL, Kafka and a schema registry on this machine, without Docker, until Ctrl-C. Writes a
      tributary.yaml that goes with them. Data and ports stay in the folder for the next time. Needs Java
      21 or newer, and Maven (mvn) for the first start, which downloads some 200 MB.

      Usage: tributary stack [options]

      Options
        --dir DIR             where everything is kept (default data/stack)
        --brokers N           how many Kafka brokers: 1 to 5 (default 1)
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary stack --brokers 3

      ────
      Examines the source: server settings, role, publication, slot and every table; and of a lake in
      BigQuery its place and permissions, by a write of no rows to a table that goes again. Says what is
      missing, why it matters and the SQL that mends it. Changes nothing. Exit code 3 when capture or
      loading would fail.

      Usage: tributary check [options]

      Options
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary check --config tributary.yaml

      ────
      Runs capture, every sink and the models, one process each. A role that fails for a passing
      reason is started again; any other failure stops all of them with its exit code. Models that fail
      stop nothing: they are built again at their next turn.
      Ctrl-C finishes what is in hand, a second one stops at once.

      Usage: tributary run [options]

      Options
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary run --config tributary.yaml

      ────
      Streams the changes of the source into the log, from where it stopped. The first time it
      makes the replication slot and reads every table beside the stream.
      Ctrl-C makes durable what was received; what was not comes again at the next start.

      Usage: tributary capture [options]

      Options
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary capture --config tributary.yaml

      ────
      Loads the log into one of the configured lakes, each cut in one transaction, from where the
      lake stopped. Several of one sink share its tables, or stand by where one process must have the
      lake, and take over within 15 s. Ctrl-C finishes the batch under way.

      Usage: tributary sink <name> [options]

      Arguments
        name                  name of the sink in the configuration

      Options
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary sink lake --config tributary.yaml

      ────
      Builds the lineage and feature tables in the configured lake with dbt, from what mapping.yaml
      says of the tables. The first time it makes the Python environment (Python 3.10 or newer).

      Usage: tributary models <action> [options]

      Arguments
        action                build

      Options
        --full-refresh        build incremental models anew from the whole log
        --skip-tests          leave the data tests out
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary models build --full-refresh

      ────
      Shows how far each stage is behind the one before, in bytes and in time: the write-ahead log of
      the source, what is confirmed to it, the newest watermark of the log, what each lake has applied,
      and which processes load it or stand by. A stage that cannot be read is named, and its exit code
      is given.

      Usage: tributary status [options]

      Options
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary status --json

      ────
      Prints the changes of a table from the log, in commit order, as they come.
      With --json one object a line, values as PostgreSQL prints them.

      Usage: tributary tail <table> [options]

      Arguments
        table                 schema.table, or a table of schema public

      Options
        --from-start          begin with the oldest change that the log keeps
        --count N             stop after so many changes
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary tail public.service_event --from-start --count 10

      ────
      Shows the configuration as it is understood, with every default, without secrets.

      Usage: tributary config [options]

      Options
        --reference           every field with its default, limit and meaning, in Markdown
        --config FILE         configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml
        --json                answer in JSON
        --log-level LEVEL     fatal, error, warn, info, debug, trace or silent

      Example: tributary config --reference > reference.md
      "
    `);
  });

  test('the version is that of the package and of Node', async () => {
    expect((await run(['--version'])).stdout).toMatch(/^tributary \d+\.\d+\.\d+ \(Node 24\./);
  });
});

describe('a typo gets a short exact answer and exit code 2', () => {
  test.each([
    [['capture-all'], 'there is no command "capture-all"', '--help'],
    [['confg'], 'there is no command "confg"; did you mean "config"?', '--help'],
    [['--verbose'], 'there is no option --verbose', '--help'],
    [
      ['config', '--cnfig', 'x'],
      'there is no option --cnfig; did you mean "--config"?',
      'config --help',
    ],
    [['config', '--config'], 'option --config needs a value', 'config --help'],
    [['config', '--config', '--json'], 'option --config needs a value', 'config --help'],
    [['config', 'everything'], '"everything" is one word too many', 'config --help'],
  ])('%j', async (words, message, attempt) => {
    const { exit, stdout, stderr } = await run(words);
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain(`Try: tributary ${attempt}`);
  });
});

describe('failures', () => {
  test('a configuration that is not there is told on standard error with exit code 2', async () => {
    const { exit, stdout, stderr } = await run(['config', '--config', '/nowhere/tributary.yaml']);
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
    expect(stderr).toMatchInlineSnapshot(`
      "error: /nowhere/tributary.yaml does not exist (config-invalid)
        because: ENOENT: no such file or directory, open '/nowhere/tributary.yaml'
        hint: name another file with --config, or write one with \`tributary init --source postgres://…\`
      "
    `);
  });

  test('with --json a failure is one JSON object', async () => {
    const { exit, stderr } = await run(['config', '--json'], { TRIBUTARY_CONFIG: '/nowhere.yaml' });
    expect(exit).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({ error: { kind: 'config-invalid', exit: 2 } });
  });
});
