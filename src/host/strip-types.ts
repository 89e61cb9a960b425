/** TypeScript as JavaScript: its types are blanked, everything else stays where it was. */
import { transformSync } from 'amaro';

/** Throws SyntaxError. */
export function stripTypes(source: string, url: string): string {
  try {
    return transformSync(source, { mode: 'strip-only' }).code;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`${url}: ${reason}`, { cause });
  }
}
