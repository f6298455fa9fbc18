import type { ArgDef, ArgsDef } from 'citty';
import { globalArgs, type Command } from './command.ts';
import type { CommandEntry } from './command-table.ts';

/** The screen of `tributary --help`. */
export function renderHelp(commands: readonly CommandEntry[]): string {
  return [
    'tributary: the changes of a PostgreSQL database, exactly once, in a data lake',
    '',
    'Usage: tributary <command> [options]',
    '',
    'Commands',
    ...columns(commands.map(({ name, summary }) => [name, summary])),
    '',
    'Options of every command',
    ...optionLines(globalArgs),
    ...columns([
      ['--help', 'this screen, or that of a command'],
      ['--version', 'the version'],
    ]),
    '',
    ...exitCodeLines,
    '',
    'Example: tributary run --config tributary.yaml',
    '',
  ].join('\n');
}

/** The screen of `tributary <name> --help`. */
export function renderCommandHelp(entry: Pick<CommandEntry, 'name'>, command: Command): string {
  const positionals = Object.entries(command.args).filter(([, arg]) => arg.type === 'positional');
  const options = Object.fromEntries(
    Object.entries(command.args).filter(([, arg]) => arg.type !== 'positional'),
  );
  const usage = [
    'tributary',
    entry.name,
    ...positionals.map(([name, arg]) => (isRequired(arg) ? `<${name}>` : `[${name}]`)),
    '[options]',
  ];
  return [
    command.description,
    '',
    `Usage: ${usage.join(' ')}`,
    ...section('Arguments', columns(positionals.map(([name, arg]) => [name, descriptionOf(arg)]))),
    ...section('Options', [...optionLines(options), ...optionLines(globalArgs)]),
    '',
    `Example: ${command.example}`,
    '',
  ].join('\n');
}

const exitCodeLines = [
  'Exit codes: 0 done, 1 defect, 2 usage or configuration, 3 source, 4 log, 5 sink,',
  '  6 models or set-up, 7 differences found, 130 stopped by Ctrl-C before it was done',
];

const nameWidth = 20;

function columns(rows: readonly (readonly [string, string])[]): string[] {
  return rows.map(([name, text]) => `  ${name.padEnd(nameWidth)}  ${text}`);
}

function optionLines(args: ArgsDef): string[] {
  return columns(
    Object.entries(args).map(([name, arg]) => [
      `--${name}${arg.type === 'boolean' ? '' : ` ${arg.valueHint ?? name.toUpperCase()}`}`,
      descriptionOf(arg),
    ]),
  );
}

function descriptionOf(arg: ArgDef): string {
  const fallback =
    arg.default === undefined || arg.default === false ? '' : ` (default ${arg.default})`;
  return `${arg.description ?? ''}${fallback}`;
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', title, ...lines];

/** citty's rule: a positional is required unless it says otherwise or has a default. */
export function isRequired(arg: ArgDef): boolean {
  return arg.required !== false && arg.default === undefined;
}
