import { stringify } from 'yaml';
import { renderConfigReference } from '../runtime/config/reference.ts';
import { defineCommand } from './command.ts';

export const configCommand = defineCommand({
  description: 'Shows the configuration as it is understood, with every default, without secrets.',
  example: 'tributary config --reference > reference.md',
  args: {
    reference: {
      type: 'boolean',
      description: 'every field with its default, limit and meaning, in Markdown',
    },
  },
  async run(context) {
    if (context.args.reference) return context.print(renderConfigReference());
    const { config } = context.open();
    const shown = JSON.stringify(config, hideSecrets);
    context.print(
      context.isJson
        ? shown
        : `# sizes in bytes, times in milliseconds\n${stringify(JSON.parse(shown)).trimEnd()}`,
    );
  },
});

/** Secrets of any length; the one inside the source's URL is hidden wherever text is printed. */
const hideSecrets = (key: string, value: unknown): unknown =>
  (key === 'password' || key === 'token') && typeof value === 'string' ? '***' : value;
