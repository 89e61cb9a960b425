/** What the compiler wrote of the sources, a file a module, for those who change it on purpose: `npm run build` has joined what is in dist/src. */
import { existsSync } from 'node:fs';

const joined = new URL('../plain/src/', import.meta.url);

/** The directory, as a URL that ends with a slash. */
export const PLAIN: URL = existsSync(joined) ? joined : new URL('../src/', import.meta.url);
