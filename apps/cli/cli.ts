/**
 * The frame of the command line: global options, help, and how every command ends.
 *
 * Each command file has one `…Commands(cli)` that describes its commands with commander and hands each a handler through
 * `cli.on`. A handler returns nothing (exit 0) or an exit code; what it throws becomes one line on stderr, and with --json
 * `{ "error": … }` on stdout.
 */
import { Command, CommanderError } from 'commander';
import { CodedError } from '#core/errors.ts';
import { ConfigError } from '#server/config.ts';
import { CommandError, createOutput, type Exit, type Output, type Streams, visible } from './output.ts';
import { type GlobalOptions, type Session, withSession } from './session.ts';

export interface Invocation<Options> {
  args: string[];
  options: Options & GlobalOptions;
  output: Output;
}

/** The exit code 1 or 2; anything else, nothing for one, is 0. */
export type Done = Promise<unknown>;

export interface Cli {
  readonly program: Command;
  /** The handler of a command that needs no database, or opens it itself. */
  on<Options = object>(command: Command, handle: (invocation: Invocation<Options>) => Done): void;
  /** The handler of a command that works on the database. */
  withSession<Options = object>(
    command: Command,
    handle: (session: Session, invocation: Invocation<Options>) => Done,
  ): void;
}

/** Help texts are written with examples; every example is a whole line that can be pasted. */
export const examples = (...lines: string[]): string =>
  `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.map((line) => `  $ syncstate ${line}`).join('\n')}`;

export interface ParsedCli extends Cli {
  run(argv: readonly string[]): Promise<Exit>;
}

export function createCli(version: string, streams: Streams): ParsedCli {
  const program = new Command('syncstate');
  let exit: Exit = 0;
  program
    .description('One stock ledger; every channel shows the right number.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .option('--json', 'print the result as JSON and nothing else on stdout')
    .option('--org <slug|id>', 'the organization, when there are several')
    .option('--data-dir <folder>', 'data folder (default: SYNCSTATE_DATA_DIR, else .data)')
    .showHelpAfterError('(add --help for what is possible)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void streams.stdout.write(text),
      writeErr: (text) => void streams.stderr.write(visible(text)),
    })
    .exitOverride();

  const on: Cli['on'] = (command, handle) => {
    command.action(async () => {
      const options = command.optsWithGlobals();
      const code = await handle({
        args: command.args,
        options: options as never,
        output: createOutput(options.json === true, streams),
      });
      exit = code === 1 || code === 2 ? code : 0;
    });
  };
  return {
    program,
    on,
    withSession(command, handle) {
      on(command, (invocation) =>
        withSession(invocation.options, invocation.output, (session) => handle(session, invocation as never)),
      );
    },
    async run(argv) {
      try {
        await program.parseAsync([...argv], { from: 'user' });
        return exit;
      } catch (error) {
        return explain(error, argv.includes('--json'), streams);
      }
    },
  };
}

/** Says what went wrong, once, and which exit code that is. Commander has already said its own. */
function explain(error: unknown, json: boolean, { stdout, stderr }: Streams): Exit {
  const tell = (code: string, message: string): void => {
    if (json) stdout.write(`${JSON.stringify({ error: { code, message } }, null, 2)}\n`);
  };
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    tell('cli.usage', error.message.replace(/^error: /, ''));
    return 2;
  }
  const { code, text } = describe(error);
  stderr.write(`${visible(text)}\n`);
  tell(code, text);
  if (isUnusable(code)) return 2;
  return error instanceof CommandError ? error.exit : 1;
}

/** Known errors are their own text; anything else is a mistake of ours and shows where it came from. */
export function describe(error: unknown): { code: string; text: string } {
  if (error instanceof CommandError) return { code: error.code, text: error.message };
  if (error instanceof ConfigError) return { code: 'config.invalid', text: error.message };
  if (error instanceof CodedError && error.code !== 'assertion') return { code: error.code, text: error.message };
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    if (isUnusable(error.code))
      return { code: error.code, text: `A value cannot be used: ${error.message}. Nothing was changed.` };
    const text = databaseTrouble(error.code) ?? error.message;
    // A Problem of the bulk routes and a StartRefused carry their own words, too.
    return { code: error.code, text };
  }
  // Known by its name: importing its class would load the whole server.
  if (error instanceof Error && error.constructor.name === 'StartRefused')
    return { code: 'start.refused', text: error.message };
  return { code: 'cli.fault', text: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** PostgreSQL's class 22: a value that was given is none of what it should be (no id, a NUL character, a number too large). */
const isUnusable = (code: string): boolean => /^22[0-9A-Z]{3}$/.test(code);

/** PostgreSQL and socket errors in words that say what to do. */
function databaseTrouble(code: string): string | null {
  if (['ECONNREFUSED', 'ENOENT', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH', 'EAI_AGAIN'].includes(code))
    return `The database cannot be reached (${code}). Is it running, and is DATABASE_URL right?`;
  if (code === '28P01' || code === '28000')
    return 'The database refuses the login. Is the password in DATABASE_URL right?';
  if (code === '3D000') return 'The database named in DATABASE_URL does not exist. Make it first: createdb.';
  return null;
}
