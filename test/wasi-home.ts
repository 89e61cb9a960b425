/** A real directory with all that import has to do with. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';

function scratch(t: TestContext): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-files-'));
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

export function realHome(t: TestContext): { top: string; home: string } {
  const top = scratch(t);
  const home = `${top}/home`;
  fs.mkdirSync(`${home}/sub/deep`, { recursive: true });
  fs.writeFileSync(`${home}/a.txt`, 'hello');
  fs.writeFileSync(`${home}/sub/deep/big`, Buffer.alloc(3_000_000, 'big'));
  fs.writeFileSync(`${home}/sub/☃`, '');
  fs.utimesSync(`${home}/a.txt`, 1000, 2000);
  fs.symlinkSync('../a.txt', `${home}/sub/link`);
  fs.symlinkSync('/etc/passwd', `${home}/absolute`);
  return { top, home };
}
