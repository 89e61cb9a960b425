#!/usr/bin/env node
/** The command `twz`: reads the command line, runs one command, and ends with its exit code. */
import { runMain } from './program.ts';

// Whoever reads our output may stop early (`twz log | head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
  throw error;
});

process.exitCode = await runMain(process.argv.slice(2));
