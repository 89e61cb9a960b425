/** Functions that came as text: each is compiled in a realm of its own kind, with the language's globals and what it is given. */
import * as vm from 'node:vm';
import { TwzError } from '../abi/errors.ts';

export type SentFunction = (...given: readonly unknown[]) => unknown;

/** What a realm has of globals that are not the language's own, or more than such a function needs. */
const TAKEN = ['console', 'WebAssembly', 'SharedArrayBuffer', 'Atomics', 'escape', 'unescape'];

/** A realm with the language's globals, and none that make code out of text. */
export function languageRealm(name: string): vm.Context {
  const context = vm.createContext(Object.create(null), { name, codeGeneration: { strings: false, wasm: false } });
  vm.runInContext(`for (const name of ${JSON.stringify(TAKEN)}) delete globalThis[name];`, context);
  return context;
}

export class Realm {
  readonly #context: vm.Context;

  /** `given`: what functions find as globals. */
  constructor(given: Readonly<Record<string, unknown>>) {
    this.#context = languageRealm('functions');
    for (const [name, value] of Object.entries(given))
      Object.defineProperty(this.#context, name, { value, enumerable: false, configurable: false, writable: false });
  }

  /** The function that a text stands for. Throws CodeInvalid. */
  compile(source: string, name: string): SentFunction {
    let made: unknown;
    try {
      made = new vm.Script(`"use strict";(${source}\n)`, { filename: name }).runInContext(this.#context, { timeout: 1000 });
    } catch (cause) {
      throw new TwzError(
        'CodeInvalid',
        `a function does not compile: ${cause instanceof Error ? cause.message : String(cause)}`,
        { name },
        cause,
      );
    }
    if (typeof made !== 'function') throw new TwzError('CodeInvalid', 'what was sent is no function', { name });
    const compiled = made;
    return (...given) => Reflect.apply(compiled, undefined, given);
  }
}
