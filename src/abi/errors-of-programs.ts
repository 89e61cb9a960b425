/** Errors of protection and of programs: contexts and capabilities, compartments, WASI, SQL databases, building. A part of the table in errors.ts. */
import type { ErrorCategory, ErrorPage } from './errors.ts';

const page = (code: number, category: ErrorCategory, what: string, remedy: string): ErrorPage => ({ code, category, what, remedy });

export const PROGRAM_ERRORS = {
  CapabilityMalformed: page(
    1401,
    'security',
    'The bytes are no capability, delegation or revocation.',
    'Get it again from who made it: it may have been cut short. docs/formats/security.md has the layout.',
  ),
  CapabilityForged: page(
    1402,
    'security',
    'The signature is not that of the key for what the statement says.',
    'It was changed, or another key signed it. Get it again from who may give it.',
  ),
  CapabilityAccessor: page(
    1403,
    'security',
    'The capability was given to another context.',
    'Attach the context that it names, or have it handed on to this one.',
  ),
  CapabilityTarget: page(1404, 'security', 'The capability is for another object.', 'Use it for the object that it names.'),
  CapabilityKey: page(
    1405,
    'security',
    'The capability is signed by a key that has no say: not that of the object, or of the context that hands it on.',
    'Sign with the key that the header of the object names. An object without a key takes no capabilities.',
  ),
  CapabilityExpired: page(1406, 'security', 'The time of the capability is over.', 'Ask for one that lasts longer.'),
  CapabilityRevoked: page(
    1407,
    'security',
    'The capability, or one that it was handed on from, was revoked.',
    'A revocation is for ever: ask for a new capability.',
  ),
  CapabilityWidened: page(
    1408,
    'security',
    'A delegation gives more than what it hands on: other rights, a wider gate, or a longer time.',
    'Hand on the same or less.',
  ),
  DelegationForbidden: page(1409, 'security', 'A capability was handed on that does not allow it.', 'Ask for one that is delegable.'),
  DelegationBroken: page(
    1410,
    'security',
    'A delegation does not continue the statement before it.',
    'Hand on the whole chain, as it was received.',
  ),
  DelegationDepth: page(1411, 'security', 'A capability was handed on too often.', 'Ask for one from somebody nearer to its maker.'),
  ContextInvalid: page(
    1412,
    'security',
    'The object holds no security context, or a damaged one.',
    'Give the ID of one; `twz ctx show` says what it is.',
  ),
  ContextUndetachable: page(
    1413,
    'security',
    'The active context is undetachable: it stays attached and active.',
    'Open the space anew, without it.',
  ),
  ContextDetached: page(1414, 'security', 'The context is not attached.', 'Attach it first.'),
  ContextFull: page(1415, 'security', 'A context has no room for more masks or capabilities.', 'Use a second context.'),
  KeyInvalid: page(
    1416,
    'security',
    'What was given is no key of the kind that is needed.',
    'Verifying keys are immutable objects; private keys are Ed25519, as a key object or PKCS#8 in PEM.',
  ),

  ProgramInvalid: page(
    1501,
    'program',
    'What was to run is no WebAssembly module, or uses what programs may not.',
    'The message names it. Build the program again; see docs/programs.md for what is supported.',
  ),
  ProgramFault: page(
    1502,
    'program',
    'A program did what it may not, such as a store into memory that it has no right to, or failed of itself.',
    'The compartment is closed and nothing of its transaction was committed. `context.where` has the functions that it was in.',
  ),
  ProgramTimeout: page(
    1503,
    'program',
    'A program ran for longer than it may.',
    'Allow more with `limits.time`, or let it do less a call. Nothing of its transaction was committed.',
  ),
  ProgramLimit: page(
    1504,
    'program',
    'A program asked for more than its compartment may have.',
    'Raise the limit that the message names, if the program is to have more.',
  ),
  GuestFault: page(
    1505,
    'program',
    'A program gave a syscall an address of memory that it has no right to, or a number that names nothing.',
    'Mend the program: the message has the syscall and the address.',
  ),
  GateMissing: page(1506, 'program', 'There is no such compartment, or no such gate in it.', 'Gates are those that the program declares.'),
  GateRefused: page(
    1507,
    'program',
    'A gate was called with what it does not take, or with an object that the caller has not the right to.',
    'The message names the argument, what it is, and what the gate declares.',
  ),
  CompartmentClosed: page(1508, 'program', 'The compartment has ended.', 'Load its program again.'),
  GateFailed: page(
    1510,
    'program',
    'The program behind a gate failed while it was called.',
    'The message says how. Its compartment is closed; the caller goes on.',
  ),
  WaitTimeout: page(
    1509,
    'program',
    'Nobody changed or woke the words that a program slept on before its time was over.',
    'Wait longer, or look why nobody came.',
  ),

  WasiMisused: page(
    1531,
    'program',
    'The program declares a function of WASI with other types than it has, or calls what is no function of it.',
    'It was compiled for another interface. Compile it for WASI preview 1 (wasm32-wasi, wasm32-wasip1).',
  ),
  FilesQuota: page(
    1532,
    'program',
    'The program made its files longer than it was allowed to.',
    'Give it a larger `bytesMax`, or a larger `fileBytesMax` for a single file.',
  ),
  FileKind: page(
    1533,
    'argument',
    'The name leads to something that is not a file, or not a directory, as was asked for.',
    'Look at what is there with `twz files ls`.',
  ),

  SqliteFailed: page(
    1541,
    'sqlite',
    'SQLite refused a statement.',
    "Read the message, which is SQLite's own; `context.sqlite` has its result code, `context.offset` where in the text it stumbled.",
  ),
  SqliteConstraint: page(
    1542,
    'sqlite',
    'A statement would have broken a constraint of a table; it changed nothing.',
    'The message names the columns, `context.sqlite` the kind of constraint.',
  ),
  SqliteOvertaken: page(
    1543,
    'sqlite',
    'Another connection committed while this one read or was about to commit: what it had seen is no longer so.',
    'Run it again. `run`, `get`, `all` and `transaction` do by themselves; iterations and transactions begun by BEGIN cannot.',
  ),
  SqliteClosed: page(1544, 'sqlite', 'The connection was closed, or the statement finalized.', 'Open it again; prepare it again.'),
  NotDatabase: page(
    1545,
    'sqlite',
    'The object is no SQL database, or one of a later format.',
    'Look at it with `twz show`. Another name makes a new database.',
  ),
  SqliteCorrupt: page(
    1546,
    'sqlite',
    'The pages of a database do not fit together.',
    'Restore a backup; `PRAGMA integrity_check` lists what is wrong.',
  ),
  SqliteMemory: page(
    1547,
    'sqlite',
    "SQLite's own memory, 1 GiB for all databases of one window, is used up.",
    'Make the transaction smaller: what it changes is kept there until it is committed. Finalize statements that are not used any more.',
  ),

  CompilerMissing: page(
    1581,
    'program',
    'The compiler that a program is to be built with is not installed.',
    'Install it with the line that the message gives.',
  ),
  BuildFailed: page(
    1582,
    'program',
    'A program was not built: its compiler refused it, or what it made is no program.',
    'The message has what the compiler said.',
  ),
  ManifestInvalid: page(
    1583,
    'program',
    'What a program declares of itself, in `program.json` or in its source, is not well formed.',
    'The message names the declaration; docs/programs-first.md has how they are written.',
  ),
} as const satisfies Record<string, ErrorPage>;
