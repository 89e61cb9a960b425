/** A process of its own that runs a program: SPACE PATH FILE [atomic]. What the program prints goes on. */
import * as fs from 'node:fs';
import { open, runWasi } from '../src/index.ts';

const [, , directory = '', path = '', file = '', atomic] = process.argv;
// A run that is one transaction holds the others up, on a busy machine for long.
const space = open(directory, { patience: 120_000 });
const { code } = runWasi(space, fs.readFileSync(file), {
  args: [file],
  env: { COLOUR: 'blue' },
  directories: [{ name: '/', path }],
  atomic: atomic === 'atomic',
  stdout: { write: (bytes) => fs.writeSync(1, bytes) },
});
space.close();
process.exitCode = code;
