/** Optional packages: loaded when a file of their format is read or written, so that nobody else has to install them. */
import { TwzError } from '../../abi/errors.ts';

/** Throws PackageMissing with the line that installs them. */
export async function optionalPackage<T>(what: string, packages: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ERR_MODULE_NOT_FOUND')) throw cause;
    const line = `npm install ${packages}`;
    throw new TwzError('PackageMissing', `${what} needs a package that is not installed: ${line}`, { install: line }, cause);
  }
}
