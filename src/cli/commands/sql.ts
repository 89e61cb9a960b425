/** The command about SQL databases: statements from the command line or from standard input, their rows as a table or as JSON. */
import type { Command } from 'commander';
import { openDatabase, type Database, type SqlValue } from '../../services/sqlite.ts';
import { UsageError } from '../failure.ts';
import { out, printable, table } from '../output.ts';
import { common, withSpace, type Common } from '../space.ts';

interface SqlFlags extends Common {
  readonly create?: boolean;
  readonly readonly?: boolean;
}

const MEGABYTE = 2 ** 20;

export function addSqlCommand(program: Command): void {
  common(program.command('sql <path> [statements]').description('run SQL on a database; without statements, what standard input has'))
    .option('-c, --create', 'make the database where nothing has the name')
    .option('-r, --readonly', 'change nothing')
    .action((path: string, text: string | undefined, options: SqlFlags) =>
      withSpace(options, async (space) => {
        if (options.create === true && options.readonly === true) throw new UsageError('either --create or --readonly');
        const statements = text ?? (await input());
        const database = openDatabase(space, path, { create: options.create === true, readonly: options.readonly === true });
        try {
          database.defaultSafeIntegers();
          run(database, statements, options.json === true);
        } finally {
          database.close();
        }
      }),
    );
}

async function input(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function run(database: Database, text: string, json: boolean): void {
  for (const statement of database.statements(text)) {
    if (!statement.reader) {
      statement.run();
      continue;
    }
    const rows = statement.raw().all() as SqlValue[][];
    const names = statement.columns().map(({ name }) => name);
    if (json) for (const row of rows) out.json(Object.fromEntries(names.map((name, i) => [name, plain(row[i] ?? null)])));
    else
      table(
        out,
        names.map((head, i) => ({ head: printable(head), right: rows.length > 0 && rows.every((row) => isNumber(row[i])) })),
        rows.map((row) => row.map(shown)),
      );
  }
}

function isNumber(value: SqlValue | undefined): boolean {
  return typeof value === 'bigint' || typeof value === 'number' || value === null;
}

/** Integers that a double holds are numbers in JSON. */
function plain(value: SqlValue): SqlValue {
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function shown(value: SqlValue): string {
  if (value === null) return 'NULL';
  if (!(value instanceof Uint8Array)) return printable(String(value));
  return value.length > MEGABYTE ? `(${value.length} bytes)` : `x'${Buffer.from(value).toString('hex')}'`;
}
