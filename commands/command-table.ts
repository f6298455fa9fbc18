import type { Command } from './command.ts';

export interface CommandEntry {
  readonly name: string;
  /** One line of `tributary --help`. */
  readonly summary: string;
  /** Loaded when it is used, so that help and short commands start at once. */
  readonly load: () => Promise<Command>;
}

/** The commands, in the order in which a newcomer needs them. */
export const commandTable: readonly CommandEntry[] = [
  {
    name: 'demo',
    summary: 'the whole job on a sample business, with nothing installed',
    load: async () => (await import('./demo.ts')).demoCommand,
  },
  {
    name: 'stack',
    summary: 'run PostgreSQL, Kafka and a schema registry on this machine',
    load: async () => (await import('./stack.ts')).stackCommand,
  },
  {
    name: 'init',
    summary: 'read a database; write configuration, mapping and SQL',
    load: async () => (await import('./init.ts')).initCommand,
  },
  {
    name: 'check',
    summary: 'examine the source and what it lacks; changes nothing',
    load: async () => (await import('./check.ts')).checkCommand,
  },
  {
    name: 'run',
    summary: 'run everything configured, one process a role, supervised',
    load: async () => (await import('./run.ts')).runCommand,
  },
  {
    name: 'capture',
    summary: 'stream the changes of the source into the log',
    load: async () => (await import('./capture.ts')).captureCommand,
  },
  {
    name: 'sink',
    summary: 'load the log into one lake',
    load: async () => (await import('./sink.ts')).sinkCommand,
  },
  {
    name: 'models',
    summary: 'build the lineage and feature tables',
    load: async () => (await import('./models.ts')).modelsCommand,
  },
  {
    name: 'status',
    summary: 'show how far each stage is behind the source',
    load: async () => (await import('./status.ts')).statusCommand,
  },
  {
    name: 'verify',
    summary: 'compare source and lake, value for value, at one LSN',
    load: async () => (await import('./verify.ts')).verifyCommand,
  },
  {
    name: 'tail',
    summary: 'print the changes of a table as they come',
    load: async () => (await import('./tail.ts')).tailCommand,
  },
  {
    name: 'config',
    summary: 'show the configuration as it is understood, or every field',
    load: async () => (await import('./config.ts')).configCommand,
  },
];
