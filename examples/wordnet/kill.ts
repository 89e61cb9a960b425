/** Starts a victim in another process, and kills it with SIGKILL. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const VICTIM = fileURLToPath(import.meta.resolve('./victim.js'));

export interface Killed {
  readonly signal: NodeJS.Signals | null;
  /** The last number that it told. */
  readonly told: number;
  readonly error: string;
}

/** Kills it once it has told at least `numbers` numbers. */
export function killWhen(task: 'half' | 'busy', directory: string, numbers: number): Promise<Killed> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VICTIM, task, directory], { stdio: ['ignore', 'pipe', 'pipe'] });
    let heard = 0;
    let line = '';
    let told = 0;
    let error = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      const lines = (line + text).split('\n');
      line = lines.pop() ?? '';
      heard += lines.length;
      told = Number(lines.at(-1) ?? told);
      if (heard >= numbers) child.kill('SIGKILL');
    });
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      error += text;
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => resolve({ signal, told, error }));
  });
}
