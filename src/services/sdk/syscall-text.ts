/**
 * What authors of programs include, made from the table of syscalls and the table of errors: declarations for AssemblyScript, C and Rust, and
 * the manual. The files in sdk/ and docs/syscalls.md are what these functions give; a test compares.
 */
import { ERRORS, type ErrorName } from '../../abi/errors.ts';
import { GATE_TYPES, MANIFEST_SECTION, SYSCALLS, SYSCALL_ABI, SYSCALL_MODULE, type Argument, type Syscall } from '../../abi/syscalls.ts';

export const LANGUAGES = ['as', 'c', 'rust'] as const;
export type Language = (typeof LANGUAGES)[number];

const TABLE: readonly Syscall[] = SYSCALLS;
const WIDTH = 140;

/** Breaks a text into lines, each with something in front of it. */
export function wrapped(text: string, before: string, width: number = WIDTH): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && before.length + line.length + 1 + word.length > width) {
      lines.push(before + line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return [...lines, before + line];
}

const SOURCE = 'Made by `twz sdk --syscalls` from the table of syscalls. Do not change it: change the table.';

/** A parameter as a language writes it: an argument may take two. */
type Parameters = Readonly<Record<Argument, (name: string) => readonly string[]>>;

function parametersOf({ parameters }: Syscall, how: Parameters): string[] {
  return parameters.flatMap(([name, type]) => how[type](name));
}

// --- AssemblyScript -------------------------------------------------------------------------------------------------------------

const AS: Parameters = {
  u32: (name) => [`${name}: u32`],
  i32: (name) => [`${name}: i32`],
  i64: (name) => [`${name}: i64`],
  address: (name) => [`${name}: usize`],
  id: (name) => [`${name}: usize`],
  idOut: (name) => [`${name}: usize`],
  bytes: (name) => [`${name}: usize`, `${name}Length: u32`],
  text: (name) => [`${name}: usize`, `${name}Length: u32`],
  buffer: (name) => [`${name}: usize`, `${name}Capacity: u32`],
  function: (name) => [`${name}: u32`],
};

/** Words that AssemblyScript does not take as the name of a function. */
const AS_RESERVED: ReadonlySet<string> = new Set(['null']);

function assemblyScript(): string {
  const lines = [`/** Syscalls, as they are. ${SOURCE} */`, '', `export const SYSCALL_ABI: i32 = ${SYSCALL_ABI};`];
  for (const call of TABLE) {
    const name = AS_RESERVED.has(call.name) ? `${call.name}_` : call.name;
    const result = call.result === 'never' ? 'void' : 'i64';
    lines.push('', ...commented(call.what, '/** ', ' * ', ' */'), `@external("${SYSCALL_MODULE}", "${call.name}")`);
    lines.push(`export declare function ${name}(${parametersOf(call, AS).join(', ')}): ${result};`);
  }
  lines.push('', '/** Codes of errors; a syscall gives them as negative numbers. */', 'export namespace Errors {');
  for (const [name, code] of errorCodes()) lines.push(`  export const ${name}: i32 = ${code};`);
  lines.push('}');
  return `${lines.join('\n')}\n`;
}

function commented(text: string, first: string, next: string, last: string): string[] {
  if (first.length + text.length + last.length <= WIDTH) return [first + text + last];
  return [first.trimEnd(), ...wrapped(text, next), last];
}

/** Errors that a program may meet. */
function errorCodes(): (readonly [name: ErrorName, code: number])[] {
  return (Object.keys(ERRORS) as ErrorName[]).map((name) => [name, ERRORS[name].code] as const);
}

// --- C ----------------------------------------------------------------------------------------------------------------------------

const C: Parameters = {
  u32: (name) => [`uint32_t ${name}`],
  i32: (name) => [`int32_t ${name}`],
  i64: (name) => [`int64_t ${name}`],
  address: (name) => [`const void *${name}`],
  id: (name) => [`const twz_id *${name}`],
  idOut: (name) => [`twz_id *${name}`],
  bytes: (name) => [`const void *${name}`, `uint32_t ${name}_length`],
  text: (name) => [`const char *${name}`, `uint32_t ${name}_length`],
  buffer: (name) => [`void *${name}`, `uint32_t ${name}_capacity`],
  function: (name) => [`twz_function ${name}`],
};

/** `ObjectMissing` as OBJECT_MISSING. */
const upper = (name: string): string => name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase();

function c(): string {
  const lines = [
    `/* Syscalls, as they are. ${SOURCE} */`,
    '#ifndef TWIZZLER_SYSCALLS_H',
    '#define TWIZZLER_SYSCALLS_H',
    '#include <stdint.h>',
    '',
    '#ifdef __cplusplus',
    'extern "C" {',
    '#endif',
    '',
    '/* An object ID, as files have it. */',
    'typedef struct twz_id { uint8_t bytes[16]; } twz_id;',
    'typedef int32_t (*twz_function)(uint32_t);',
    '',
    `#define TWZ_SYSCALL_ABI ${SYSCALL_ABI}`,
    `#define TWZ_IMPORT(name) __attribute__((import_module("${SYSCALL_MODULE}"), import_name(name)))`,
  ];
  for (const call of TABLE) {
    const parameters = parametersOf(call, C).join(', ') || 'void';
    const never = call.result === 'never';
    lines.push('', ...commented(call.what, '/* ', ' * ', ' */'), `TWZ_IMPORT("${call.name}")${never ? ' _Noreturn' : ''}`);
    lines.push(`${never ? 'void' : 'int64_t'} twz_${call.name}(${parameters});`);
  }
  lines.push('', '/* Codes of errors; a syscall gives them as negative numbers. */');
  for (const [name, code] of errorCodes()) lines.push(`#define TWZ_ERROR_${upper(name)} ${code}`);
  lines.push('', '#ifdef __cplusplus', '}', '#endif', '#endif');
  return `${lines.join('\n')}\n`;
}

// --- Rust -------------------------------------------------------------------------------------------------------------------------

const RUST: Parameters = {
  u32: (name) => [`${name}: u32`],
  i32: (name) => [`${name}: i32`],
  i64: (name) => [`${name}: i64`],
  address: (name) => [`${name}: *const u8`],
  id: (name) => [`${name}: *const Id`],
  idOut: (name) => [`${name}: *mut Id`],
  bytes: (name) => [`${name}: *const u8`, `${name}_length: u32`],
  text: (name) => [`${name}: *const u8`, `${name}_length: u32`],
  buffer: (name) => [`${name}: *mut u8`, `${name}_capacity: u32`],
  function: (name) => [`${name}: extern "C" fn(u32) -> i32`],
};

const RUST_WORDS: ReadonlySet<string> = new Set(['type']);

function rust(): string {
  const lines = [
    `//! Syscalls, as they are. ${SOURCE}`,
    '',
    '/// An object ID, as files have it.',
    '#[repr(C)]',
    '#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]',
    'pub struct Id {',
    '    pub bytes: [u8; 16],',
    '}',
    '',
    `pub const SYSCALL_ABI: u32 = ${SYSCALL_ABI};`,
    '',
    `#[link(wasm_import_module = "${SYSCALL_MODULE}")]`,
    'extern "C" {',
  ];
  for (const [i, call] of TABLE.entries()) {
    const parameters = parametersOf(
      { ...call, parameters: call.parameters.map(([name, type]) => [RUST_WORDS.has(name) ? `${name}_` : name, type] as const) },
      RUST,
    );
    if (i > 0) lines.push('');
    lines.push(...wrapped(call.what, '    /// ', WIDTH));
    lines.push(`    pub fn ${call.name}(${parameters.join(', ')}) -> ${call.result === 'never' ? '!' : 'i64'};`);
  }
  lines.push('}', '', '/// Codes of errors; a syscall gives them as negative numbers.', 'pub mod errors {');
  for (const [name, code] of errorCodes()) lines.push(`    pub const ${upper(name)}: i64 = ${code};`);
  lines.push('}');
  return `${lines.join('\n')}\n`;
}

// --- the manual -------------------------------------------------------------------------------------------------------------------

const GROUPS: readonly (readonly [from: number, title: string])[] = [
  [0, 'The program itself'],
  [16, 'Objects and pointers'],
  [32, 'Transactions and names'],
  [40, 'Threads'],
  [48, 'Gates and security contexts'],
  [64, 'Collections'],
];

const CROSSING: readonly (readonly [argument: string, how: string])[] = [
  ['`u32`, `i32`, `i64`', 'as they are'],
  ['`address`', 'i32: a place in the program’s memory, in its heap or in an object that is mapped'],
  ['`id`', 'i32: address of the 16 bytes of an object ID, as files have them'],
  ['`idOut`', 'i32: address where 16 bytes are stored'],
  ['`bytes`, `text`', 'two i32: address and length in bytes; text is UTF-8'],
  ['`buffer`', 'two i32: address and capacity. The result is the length of all there is; no more than the capacity is stored'],
  ['`function`', 'i32: index in the program’s table, of a function `(u32) -> i32`'],
];

export function syscallsMarkdown(): string {
  const lines = [
    '# Syscalls',
    '',
    '<!-- printed by `twz sdk --syscalls --lang md`; a test compares -->',
    '',
    `A program imports them from the module \`${SYSCALL_MODULE}\`. Each gives a signed 64-bit number: what was asked for, 0 where there is nothing to say,`,
    'or the negative code of an error (see [errors](errors.md)), whose text `error` gives. Numbers are never used again for something else. The headers',
    'for AssemblyScript, C and Rust in `sdk/` are made from the same table.',
    '',
    '| argument | crosses as |',
    '|---|---|',
    ...CROSSING.map(([argument, how]) => `| ${argument} | ${how} |`),
  ];
  for (const [i, [from, title]] of GROUPS.entries()) {
    const end = GROUPS[i + 1]?.[0] ?? Infinity;
    lines.push('', `## ${title}`, '', '| number | call | gives | |', '|---|---|---|---|');
    for (const { number, name, parameters, result, what } of TABLE) {
      if (number < from || number >= end) continue;
      const given = parameters.map(([parameter, type]) => `${parameter}: ${type}`).join(', ');
      lines.push(`| ${number} | \`${name}(${given})\` | ${result} | ${what.replaceAll('|', '\\|')} |`);
    }
  }
  lines.push(
    '',
    '## What a program declares',
    '',
    `A custom section named \`${MANIFEST_SECTION}\` holds JSON: \`abi\` (${SYSCALL_ABI}), \`name\`, and \`gates\`, by name of the exported function:`,
    `\`{"parameters": ["u32", "text"], "result": "text"}\`. Types of gates: ${GATE_TYPES.map((type) => `\`${type}\``).join(', ')}.`,
  );
  return `${lines.join('\n')}\n`;
}

/** The declarations of all syscalls for a language. */
export function syscallsFor(language: Language): string {
  return language === 'as' ? assemblyScript() : language === 'c' ? c() : rust();
}
