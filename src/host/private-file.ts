/** Files for secrets. */
import * as fs from 'node:fs';
import { TwzError } from '../abi/errors.ts';
import { systemError } from './node-files.ts';

/** Makes a file that its owner alone may read. Throws NotEmpty where there is one. */
export function writePrivateFile(path: string, text: string): void {
  try {
    fs.writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')
      throw new TwzError('NotEmpty', `there is a file ${path} already`, { path });
    throw systemError(`write ${path}`, cause);
  }
}
