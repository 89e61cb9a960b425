/** Packages that programs may have, and this one does not need. */

/** What a package exports; undefined where the program has none of that name. */
export async function optionalPackage(name: string): Promise<unknown> {
  try {
    return await import(name);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
