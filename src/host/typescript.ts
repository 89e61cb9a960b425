/** Programs in TypeScript, as they are written: `twz run`, and threads. */
import { register } from 'node:module';

/** From now on types are stripped from modules as they are loaded, and `twizzler` is this package, wherever they lie. */
export function acceptTypeScript(): void {
  // Compiled code lies beside this file; the compiler rewrites imports, not URLs.
  const entries = {
    twizzler: new URL('../index.js', import.meta.url).href,
    'twizzler/testing': new URL('../testing/index.js', import.meta.url).href,
  };
  register(new URL('./typescript-hooks.js', import.meta.url), { data: { entries } });
}
