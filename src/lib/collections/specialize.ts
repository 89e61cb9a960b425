/**
 * Code of one's own for each type of collection. Closures made twice from the same source share what the engine learned about the types
 * they meet, and lose a factor of two to three (docs/decisions/0004). So a factory is evaluated anew from its source text for each type:
 * the text is this package's own, and all that it uses comes in as arguments.
 */
import { TwzError } from '../../abi/errors.ts';

/** The same function, compiled anew. It must use nothing but its parameters and what JavaScript itself has. */
export function specialize<A extends readonly unknown[], R>(factory: (...args: A) => R): (...args: A) => R {
  try {
    return new Function(`'use strict'; return ${factory.toString()}`)() as (...args: A) => R;
  } catch (cause) {
    if (cause instanceof EvalError)
      throw new TwzError('NotSupported', 'collections are compiled, and this environment forbids code generation', {}, cause);
    throw cause;
  }
}
