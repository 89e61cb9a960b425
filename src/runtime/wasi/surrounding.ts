/** WASI as what a compartment finds around it. */
import type { Compartment, Surrounding } from '../compartment.ts';
import { WASI_MODULES } from '../program.ts';
import { demandStack } from '../syscalls.ts';
import { ERRNO } from './numbers.ts';
import type { Wasi, WasiImports } from './wasi.ts';

/**
 * Names in WASI's modules that are not of WASI say so to the program, whatever they are given: a program that was compiled for more runs as
 * long as it needs no more.
 */
export function wasiSurrounding(wasi: Wasi, module: string): Surrounding {
  return {
    modules: WASI_MODULES,
    functions(compartment) {
      wasi.attach(compartment.view);
      const calls = Object.entries(wasi.imports(module)).map(([name, call]) => [name, entered(compartment, call)] as const);
      return new Proxy<WasiImports>(Object.fromEntries(calls), { get: (known, name) => Reflect.get(known, name) ?? (() => ERRNO.nosys) });
    },
  };
}

/** What the program stored to objects is there before a call looks at them, and what the call changed is there after it. */
function entered(compartment: Compartment, call: WasiImports[string]): WasiImports[string] {
  const { view, kernel } = compartment;
  return (...given) => {
    compartment.count();
    demandStack();
    if (kernel.transaction !== undefined) view.collect();
    try {
      return call?.(...given);
    } finally {
      view.prepare();
    }
  };
}
