/** The pages behind `twz explain`: operating errors, findings of `check`, exit codes. docs/errors.md is printed from here. */
import { ERRORS } from '../abi/errors.ts';
import { FINDINGS, type Mend } from '../services/check/findings.ts';

export interface Page {
  readonly name: string;
  readonly code?: number;
  readonly group: string;
  readonly what: string;
  readonly remedy: string;
}

const MENDS: Readonly<Record<Mend, string>> = {
  quarantine: 'With `--repair` the file moves to quarantine/, byte for byte; restore the object from a backup.',
  rebuild: '`twz check --repair` mends it without loss, and keeps a copy of what it changes.',
  derive:
    '`twz check --repair` mends it where all the rest of the collection says what must be there; else `--salvage` saves what can be read.',
  clear: 'With `--repair --clear` the references concerned are set to null.',
  truncate: '`twz check --repair` cuts the log there, and keeps what it cuts off.',
  remove: 'Remove it with `twz rm`.',
  none: 'Nothing can be done about it without guessing.',
};
const NOTE = 'Nothing needs to be done.';

export function listPages(): Page[] {
  const pages: Page[] = Object.entries(ERRORS).map(([name, { code, category, what, remedy }]) => ({
    name,
    code,
    group: category,
    what,
    remedy,
  }));
  for (const [name, { severity, what, mend }] of Object.entries(FINDINGS)) {
    pages.push({ name, group: `check: ${severity}`, what, remedy: severity === 'note' ? NOTE : MENDS[mend] });
  }
  return pages;
}

/** By code or by name, in any case. */
export function explainPage(text: string): Page | undefined {
  const wanted = text.toLowerCase();
  return listPages().find((page) => page.name.toLowerCase() === wanted || String(page.code ?? '') === wanted);
}

export function errorsMarkdown(): string {
  const lines = [
    '# Errors and findings',
    '',
    '<!-- printed by `twz explain --markdown`; a test compares -->',
    '',
    'An operating error is a `TwzError`: `name` and `code` are stable and never reused, `context` says which object, offset or path, `cause` is what lies',
    'beneath. The call that throws it has changed nothing. `twz explain CODE` prints a page of this table.',
    '',
  ];
  for (const category of new Set(Object.values(ERRORS).map((page) => page.category))) {
    lines.push(`## ${category}`, '', '| code | name | what happened | what to do |', '|---|---|---|---|');
    for (const [name, page] of Object.entries(ERRORS)) {
      if (page.category === category) lines.push(`| ${page.code} | ${name} | ${page.what} | ${page.remedy} |`);
    }
    lines.push('');
  }
  lines.push('## Findings of `twz check`', '', '| name | severity | what was found | what to do |', '|---|---|---|---|');
  for (const [name, { severity, what, mend }] of Object.entries(FINDINGS)) {
    lines.push(`| ${name} | ${severity} | ${what} | ${severity === 'note' ? NOTE : MENDS[mend]} |`);
  }
  return `${lines.join('\n')}\n`;
}
