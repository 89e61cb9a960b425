/** `npm run test:thorough` goes on for longer where the suite looks at a part: at more seeds, moments and sizes. */
export const THOROUGH: boolean = process.env['TWZ_THOROUGH'] !== undefined;

/** How much of something: for the suite, or for a thorough run. */
export function amount(usual: number, thorough: number): number {
  return THOROUGH ? thorough : usual;
}
