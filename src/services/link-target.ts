/** Where links of the naming service lead. */

/**
 * The path that a link leads to which stands in the namespace of that path, given as its components: one of its own, or one from there on.
 * Undefined where `..` leads above the root.
 */
export function linkTarget(above: readonly string[], path: string): string | undefined {
  if (path.startsWith('/')) return path;
  const parts = [...above];
  for (const part of path.split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined) return undefined;
    } else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
