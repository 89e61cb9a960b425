/** Structs as C has them. Its own layout is the same: each field at a multiple of its alignment. The compiler checks that. */
import type { FieldShape } from '../../lib/fields.ts';
import { MADE_BY, valueNames, type PlacedField, type StructLayout } from './layouts.ts';

const NUMBERS: Readonly<Record<string, string>> = {
  u8: 'uint8_t',
  i8: 'int8_t',
  u16: 'uint16_t',
  i16: 'int16_t',
  u32: 'uint32_t',
  i32: 'int32_t',
  u64: 'uint64_t',
  i64: 'int64_t',
  f32: 'float',
  f64: 'double',
};

const KEYWORDS: ReadonlySet<string> = new Set(
  (
    'auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short ' +
    'signed sizeof static struct switch typedef union unsigned void volatile while bool true false class new delete this template typename ' +
    'namespace operator private protected public virtual friend try catch throw using'
  ).split(' '),
);

const safe = (name: string): string => (KEYWORDS.has(name) ? `${name}_` : name);
const quoted = (text: string): string => JSON.stringify(text);

/** The declaration of a field. */
function declared(name: string, shape: FieldShape): string {
  switch (shape.kind) {
    case 'number':
    case 'bigint':
      return `${NUMBERS[shape.type] ?? 'uint8_t'} ${name}`;
    case 'bool':
      return `uint8_t ${name}`;
    case 'oneOf':
      return `${shape.values.length <= 256 ? 'uint8_t' : 'uint16_t'} ${name}`;
    case 'text':
    case 'bytes':
      return `twz_text ${name}`;
    case 'ref':
    case 'link':
      return `_Alignas(8) twz_pointer ${name}`;
    case 'struct':
      return `${shape.type} ${name}`;
    case 'collection':
      return `_Alignas(8) uint8_t ${name}[${shape.size}]`;
    case 'array':
      return declared(`${name}[${shape.length}]`, shape.of);
    case 'optional':
      return `struct { uint8_t present; ${declared('value', shape.of)}; } ${name}`;
  }
}

function helpers(struct: string, { name, shape }: PlacedField, structs: ReadonlySet<string>): string[] {
  const field = safe(name);
  if (shape.kind === 'ref' || shape.kind === 'link') {
    const type = shape.kind === 'ref' && structs.has(shape.type) ? shape.type : 'void';
    return [
      `static inline ${type} *${struct}_${name}(const ${struct} *self) { return (${type} *)twz_follow(&self->${field}); }`,
      `static inline int64_t ${struct}_set_${name}(${struct} *self, const ${type} *to) { return twz_refer_to(&self->${field}, to); }`,
    ];
  }
  if (shape.kind === 'text' || shape.kind === 'bytes')
    return [`static inline twz_slice ${struct}_${name}(const ${struct} *self) { return twz_text_of(&self->${field}); }`];
  if (shape.kind === 'collection')
    return [
      `static inline uint32_t ${struct}_${name}(const ${struct} *self) { return twz_collection(self->${field}, ${quoted(shape.type)}); }`,
    ];
  const values = shape.kind === 'oneOf' ? shape.values : shape.kind === 'optional' && shape.of.kind === 'oneOf' ? shape.of.values : [];
  if (values.length === 0) return [];
  return [
    `enum { ${valueNames(values)
      .map((each, i) => `${struct}_${name}_${each} = ${i}`)
      .join(', ')} };`,
  ];
}

function structOf(layout: StructLayout, structs: ReadonlySet<string>): string[] {
  const { name, size, align, version, fingerprint, schema, fields } = layout;
  return [
    '',
    `/* ${size} bytes, version ${version}. */`,
    `struct ${name} {`,
    ...fields.map(({ name: field, shape }) => `  ${declared(safe(field), shape)};`),
    '};',
    `_Static_assert(sizeof(${name}) == ${size} && _Alignof(${name}) == ${align}, "${name}: another layout");`,
    ...fields.map(
      ({ name: field, offset }) => `_Static_assert(offsetof(${name}, ${safe(field)}) == ${offset}, "${name}.${field}: another offset");`,
    ),
    `#define ${name}_FINGERPRINT 0x${fingerprint}ull`,
    `#define ${name}_SCHEMA ${quoted(schema)}`,
    `/* The root of a mapped object, where it is of this type. */`,
    `static inline ${name} *${name}_root(const void *object) { return (${name} *)twz_root_of(object, ${name}_FINGERPRINT); }`,
    `/* A new object whose root is of this type, all zeros; in a transaction. */`,
    `static inline ${name} *${name}_create(void) { return (${name} *)twz_make(sizeof(${name}), ${name}_SCHEMA); }`,
    `/* A new one, all zeros, in the object that \`near\` lies in; in a transaction. */`,
    `static inline ${name} *${name}_near(const void *near) { return (${name} *)twz_new(near, sizeof(${name})); }`,
    ...fields.flatMap((field) => helpers(name, field, structs)),
  ];
}

/** `guard`: a word for the file, so that it is included once. */
export function layoutsC(layouts: readonly StructLayout[], guard: string): string {
  const structs = new Set(layouts.map(({ name }) => name));
  const lines = [
    `/* ${MADE_BY} */`,
    `#ifndef ${guard}`,
    `#define ${guard}`,
    '#include "twizzler.h"',
    '',
    ...layouts.map(({ name }) => `typedef struct ${name} ${name};`),
    ...layouts.flatMap((layout) => structOf(layout, structs)),
    '',
    '#endif',
  ];
  return `${lines.join('\n')}\n`;
}
