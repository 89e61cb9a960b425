/** Structs as Rust has them, in C's layout, which is the same. The compiler checks that. */
import type { FieldShape } from '../../lib/fields.ts';
import { MADE_BY, valueNames, type PlacedField, type StructLayout } from './layouts.ts';

const KEYWORDS: ReadonlySet<string> = new Set(
  (
    'abstract as async await become box break const continue do dyn else enum extern false final fn for if impl in let loop macro match mod ' +
    'move mut override priv pub ref return static struct super trait true try type typeof unsafe unsized use virtual where while yield self'
  ).split(' '),
);

const safe = (name: string): string => (KEYWORDS.has(name) ? `${name}_` : name);
const snake = (name: string): string => name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toLowerCase();

function typeOf(shape: FieldShape): string {
  switch (shape.kind) {
    case 'number':
    case 'bigint':
      return shape.type;
    case 'bool':
      return 'u8';
    case 'oneOf':
      return shape.values.length <= 256 ? 'u8' : 'u16';
    case 'text':
    case 'bytes':
      return 'Text';
    case 'ref':
    case 'link':
      return 'Pointer';
    case 'struct':
      return shape.type;
    case 'collection':
      return `[u64; ${shape.size / 8}]`;
    case 'array':
      return `[${typeOf(shape.of)}; ${shape.length}]`;
    case 'optional':
      return `Optional<${typeOf(shape.of)}>`;
  }
}

function helpers({ name, shape }: PlacedField, structs: ReadonlySet<string>): string[] {
  const field = safe(name);
  const method = snake(name);
  const safety = ['    /// # Safety', '    /// It lies in a mapped object.'];
  if (shape.kind === 'ref' || shape.kind === 'link') {
    const type = shape.kind === 'ref' && structs.has(shape.type) ? shape.type : 'u8';
    return [
      '',
      ...safety,
      `    pub unsafe fn ${safe(method)}(this: *const Self) -> Result<*mut ${type}> {`,
      `        twizzler::follow(core::ptr::addr_of!((*this).${field}))`,
      '    }',
      '',
      ...safety,
      `    pub unsafe fn set_${method}(this: *mut Self, to: *mut ${type}) -> Result<()> {`,
      `        twizzler::refer(core::ptr::addr_of_mut!((*this).${field}), to)`,
      '    }',
    ];
  }
  if (shape.kind === 'text' || shape.kind === 'bytes')
    return [
      '',
      ...safety,
      `    pub unsafe fn ${safe(method)}<'a>(this: *const Self) -> &'a ${shape.kind === 'text' ? 'str' : '[u8]'} {`,
      `        twizzler::${shape.kind === 'text' ? 'text_of' : 'bytes_of'}(core::ptr::addr_of!((*this).${field}))`,
      '    }',
      ...(shape.kind === 'bytes'
        ? []
        : [
            '',
            ...safety,
            `    pub unsafe fn set_${method}(this: *mut Self, value: &str) -> Result<()> {`,
            `        twizzler::set_text(core::ptr::addr_of_mut!((*this).${field}), value)`,
            '    }',
          ]),
    ];
  if (shape.kind === 'collection')
    return [
      '',
      ...safety,
      `    pub unsafe fn ${safe(method)}(this: *const Self) -> Result<Collection> {`,
      `        Collection::open(core::ptr::addr_of!((*this).${field}), ${rustText(shape.type)})`,
      '    }',
    ];
  const values = shape.kind === 'oneOf' ? shape.values : shape.kind === 'optional' && shape.of.kind === 'oneOf' ? shape.of.values : [];
  const type = values.length <= 256 ? 'u8' : 'u16';
  return valueNames(values).map((each, i) => `    pub const ${`${snake(name)}_${each}`.toUpperCase()}: ${type} = ${i};`);
}

/** With as many signs around it as it takes. */
function rustText(text: string): string {
  let signs = '#';
  while (text.includes(`"${signs}`)) signs += '#';
  return `r${signs}"${text}"${signs}`;
}

function structOf(layout: StructLayout, structs: ReadonlySet<string>): string[] {
  const { name, size, align, version, fingerprint, schema, fields } = layout;
  return [
    '',
    `/// ${size} bytes, version ${version}.`,
    '#[repr(C)]',
    '#[derive(Clone, Copy)]',
    `pub struct ${name} {`,
    ...fields.map(({ name: field, shape }) => `    pub ${safe(field)}: ${typeOf(shape)},`),
    '}',
    `const _: () = assert!(core::mem::size_of::<${name}>() == ${size} && core::mem::align_of::<${name}>() == ${align});`,
    '',
    `impl ${name} {`,
    `    pub const FINGERPRINT: u64 = 0x${fingerprint};`,
    `    pub const SCHEMA: &'static str = ${rustText(schema)};`,
    '',
    '    /// The root of a mapped object, where it is of this type.',
    '    ///',
    '    /// # Safety',
    '    /// An object is mapped there, for reading at least.',
    '    pub unsafe fn root(object: *mut u8) -> Option<*mut Self> {',
    '        twizzler::root_of(object, Self::FINGERPRINT)',
    '    }',
    '',
    '    /// A new object whose root is of this type, all zeros; in a transaction.',
    '    pub fn create() -> Result<*mut Self> {',
    '        twizzler::make(Self::SCHEMA)',
    '    }',
    ...fields.flatMap((field) => helpers(field, structs)),
    '}',
  ];
}

export function layoutsRust(layouts: readonly StructLayout[]): string {
  const structs = new Set(layouts.map(({ name }) => name));
  const lines = [
    `// ${MADE_BY}`,
    '#![allow(non_snake_case, dead_code, unused_imports)]',
    'use twizzler::{Collection, Optional, Pointer, Result, Text};',
    ...layouts.flatMap((layout) => structOf(layout, structs)),
  ];
  return `${lines.join('\n')}\n`;
}
