/** The program in a module's thread: it opens the space, compiles the module, calls its function, and says what that gave or threw. */
import { TwzError } from '../../abi/errors.ts';
import { chooseHost } from '../../host/choose.ts';
import { confinedData, evaluate, harden, ready, say } from '../../host/confined.ts';
import { loadNative } from '../../host/native-threads.ts';
import { open, type Space } from '../../space.ts';
import { LIBRARY, ModuleSpace } from './library.ts';
import type { ModuleReport, ModuleStart, Thrown } from './modules.ts';
import { pass, receive } from './values.ts';

function property(value: unknown, name: string): unknown {
  try {
    return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  } catch {
    return 'unknown';
  }
}

/** What a module threw is the module's: each look at it may throw again. */
function thrown(cause: unknown): Thrown {
  const text = (name: string): string => {
    const value = property(cause, name);
    return typeof value === 'string' ? value.slice(0, 4096) : '';
  };
  if (typeof cause !== 'object' || cause === null)
    return { name: 'Error', message: `${typeof cause} ${String(cause)}`.slice(0, 4096), stack: '', context: undefined };
  const context = cause instanceof TwzError ? { ...cause.context } : undefined;
  return { name: text('name') || 'Error', message: text('message'), stack: text('stack'), context };
}

async function compile({ name, language, source }: ModuleStart): Promise<Readonly<Record<string, unknown>>> {
  let code = source;
  if (language === 'typescript') {
    const { stripTypes } = await import('../../host/strip-types.ts');
    try {
      code = stripTypes(source, name);
    } catch (cause) {
      throw new TwzError('ModuleInvalid', cause instanceof Error ? cause.message : String(cause));
    }
  }
  harden();
  return evaluate(code, name, 'twizzler', LIBRARY);
}

async function run(start: ModuleStart): Promise<ModuleReport> {
  let space: Space | undefined;
  try {
    space = open(start.directory, { create: false, host: chooseHost(() => undefined), contexts: start.contexts });
    ready();
    const exported = await compile(start);
    const main = exported[start.function];
    if (typeof main !== 'function') throw new TwzError('ModuleInvalid', `module ${start.name} exports no function "${start.function}"`);
    const opened = space;
    const given = start.given.map((each) => receive(each, (id) => opened.object(id)));
    const result: unknown = await Reflect.apply(main, undefined, [new ModuleSpace(space), ...given]);
    return { gave: pass(result) };
  } catch (cause) {
    return { threw: thrown(cause) };
  } finally {
    space?.close();
  }
}

loadNative();
const report = await run(confinedData() as ModuleStart);
say(report);
process.exit(0);
