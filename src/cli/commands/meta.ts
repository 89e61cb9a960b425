/** Commands about twz itself: version, explain. */
import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import { errorsMarkdown, explainPage, listPages } from '../explain.ts';
import { out, pairs, table } from '../output.ts';
import { common, theHost, type Common } from '../space.ts';
import { VERSION } from '../version.ts';

export function addMeta(program: Command): void {
  common(program.command('version').description('print the versions of twizzler, its formats and its host')).action((options: Common) => {
    const facts = versionFacts();
    if (options.json === true) out.json(facts);
    else
      pairs(
        out,
        Object.entries(facts).map(([name, value]) => [name, String(value)] as const),
      );
  });
  common(program.command('explain [code-or-name]').description('explain an error or a finding of check; without one, list them all'))
    .option('--markdown', 'print all pages as docs/errors.md')
    .action((what: string | undefined, options: Common & { markdown?: boolean }) => {
      if (options.markdown === true) out.write(errorsMarkdown());
      else if (what === undefined) listAll(options);
      else explainOne(what, options);
    });
}

function versionFacts(): Record<string, string | number> {
  return { twizzler: VERSION, objectFormat: 1, logFormat: 1, controlFormat: 1, host: theHost().name, node: process.version };
}

function listAll(options: Common): void {
  const pages = listPages();
  if (options.json === true) {
    out.json(pages);
    return;
  }
  const rows = pages.map((page) => [page.code === undefined ? '' : String(page.code), out.paint('bold', page.name), page.group, page.what]);
  table(out, [{ head: 'CODE', right: true }, { head: 'NAME' }, { head: 'GROUP' }, { head: 'WHAT' }], rows);
}

function explainOne(what: string, options: Common): void {
  const page = explainPage(what);
  if (page === undefined) throw new UsageError(`nothing is named "${what}"; \`twz explain\` lists all errors and findings`);
  if (options.json === true) {
    out.json(page);
    return;
  }
  out.line(`${out.paint('bold', page.name)}${page.code === undefined ? '' : ` (${page.code})`}  ${out.paint('dim', page.group)}`);
  out.line();
  out.line(page.what);
  out.line(page.remedy);
}
