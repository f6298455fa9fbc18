import { parseArgs, type ArgsDef, type ParsedArgs } from 'citty';
import { suggestion } from '../runtime/config/fields.ts';
import { globalArgs, usageError } from './command.ts';
import { isRequired } from './help.ts';

/**
 * Reads the arguments after a command's name. citty takes whatever it is given, so unknown options,
 * missing values and surplus words are refused here. Throws `usage`.
 */
export function parseCommandLine<T extends ArgsDef>(
  words: readonly string[],
  command: { readonly name: string; readonly args: T },
): ParsedArgs<T & typeof globalArgs> {
  const args = { ...command.args, ...globalArgs };
  const attempt = `tributary ${command.name} --help`;
  checkOptions(words, args, attempt);
  const positionals = Object.entries(command.args).filter(([, arg]) => arg.type === 'positional');
  const required = positionals.filter(([, arg]) => isRequired(arg));
  // Read once without the positionals, because citty throws an error of its own when one is missing.
  const given = parseArgs([...words], options(args))._;
  const missing = required[given.length];
  if (missing !== undefined) throw usageError(`${command.name} needs <${missing[0]}>`, attempt);
  const surplus = given[positionals.length];
  if (surplus !== undefined) throw usageError(`"${surplus}" is one word too many`, attempt);
  return parseArgs([...words], args);
}

function options(args: ArgsDef): ArgsDef {
  return Object.fromEntries(Object.entries(args).filter(([, arg]) => arg.type !== 'positional'));
}

function checkOptions(words: readonly string[], args: ArgsDef, attempt: string): void {
  const known = options(args);
  for (const [index, word] of words.entries()) {
    if (word === '--') return;
    if (!word.startsWith('-') || word === '-') continue;
    const [flag = '', value] = word.split('=', 2);
    const name = flag.replace(/^-+/, '');
    const arg = known[name] ?? (name.startsWith('no-') ? known[name.slice(3)] : undefined);
    if (arg === undefined) {
      const near = suggestion(name, Object.keys(known)).replace(/"(.+)"/, '"--$1"');
      throw usageError(`there is no option ${flag}${near}`, attempt);
    }
    const next = words[index + 1];
    if (
      arg.type !== 'boolean' &&
      value === undefined &&
      (next === undefined || next.startsWith('-'))
    ) {
      throw usageError(`option ${flag} needs a value`, attempt);
    }
  }
}
