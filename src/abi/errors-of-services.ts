/** Errors of what is built on a space: the local server, and modules as mobile code. A part of the table in errors.ts. */
import type { ErrorCategory, ErrorPage } from './errors.ts';

const page = (code: number, category: ErrorCategory, what: string, remedy: string): ErrorPage => ({ code, category, what, remedy });

export const SERVICE_ERRORS = {
  ServeUnreachable: page(
    1551,
    'serve',
    'Nobody serves a space at this socket.',
    'Start `twz serve --local` for the space, or look at the path of the socket.',
  ),
  ServeGone: page(
    1552,
    'serve',
    'The connection to the server has ended: it stopped, died, or cut this client off.',
    'What a commit that was under way did is not known: connect again, and look. Images stay readable, and do not change any more.',
  ),
  ServeProtocol: page(
    1553,
    'serve',
    'What came over a local socket is not what client and server say to each other.',
    'Use a client and a server of the same release; the message says what was wrong.',
  ),
  ServeLimit: page(
    1554,
    'serve',
    'A client of the local server is over one of its limits.',
    'The message names the limit. Close what is not needed any more, or commit in smaller parts.',
  ),
  ServeUnproved: page(
    1555,
    'serve',
    'A client could not prove to the local server who it is.',
    'Sign with the key that belongs to the one that is named. A proof is good for one connection.',
  ),
  ServeTaken: page(
    1556,
    'serve',
    'There is something at the path of the local socket already.',
    'Another server runs there: stop it, or give another path with `--socket`.',
  ),
  ServeExposed: page(
    1557,
    'serve',
    'Other users of the machine can read the directory of a space that is to be served, and that cannot be changed.',
    'Give the directory to the user that serves it.',
  ),
  ModuleForged: page(
    1571,
    'module',
    'The signature of a module is not that of its key over its name, its language and its source.',
    'It was changed after it was signed, or never signed. Get it again from its author.',
  ),
  ModuleUntrusted: page(
    1572,
    'module',
    'A module is signed by a key that the caller did not say that it trusts.',
    'Look at who signed it (`space.modules.read`), and name the key in `trust` if you would run anything that its owner writes.',
  ),
  ModuleVersion: page(
    1573,
    'module',
    'A module was signed in a format that this build does not know.',
    'Use the build that signed it, or have it signed again.',
  ),
  ModuleInvalid: page(
    1574,
    'module',
    'The source of a module does not compile, or it does not export the function that was asked for.',
    'Read the message. Only types are erased: enums, namespaces and parameter properties are not TypeScript that can be.',
  ),
  ModuleImport: page(
    1575,
    'module',
    'A module imports something other than `twizzler`.',
    'A module has nothing but the space and the data types of this package: pass it what it needs as arguments.',
  ),
  ModuleFailed: page(
    1576,
    'module',
    'A module threw, ended its thread, or waits for what never comes.',
    'Read the message: it is that of the error there; `context` has its name and its stack.',
  ),
  ModuleTimeout: page(
    1577,
    'module',
    'A module had not come to its end when its time was over, and was ended.',
    'Transactions that it had committed stay. Give it less to do, or more time with `limits.ms`.',
  ),
  ModuleMemory: page(
    1578,
    'module',
    'A module needed more memory than it was given, and was ended.',
    'Transactions that it had committed stay. Raise `limits.heapBytes` or `limits.bufferBytes`.',
  ),
  ModuleValue: page(
    1579,
    'module',
    'A value cannot be passed to a module, or back from it.',
    'Pass numbers, text, bytes, arrays, plain objects and references to objects.',
  ),
} as const satisfies Record<string, ErrorPage>;
