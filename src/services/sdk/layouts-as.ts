/** Structs as AssemblyScript has them: an unmanaged class is an address, and its accessors are loads and stores. */
import type { FieldShape } from '../../lib/fields.ts';
import { MADE_BY, useOf, valueNames, type CollectionFieldShape, type PlacedField, type StructLayout } from './layouts.ts';

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

class Source {
  /** What is used of the library. */
  readonly uses = new Set<string>(['Obj', 'failed', 'rootOf', 'allocate']);
  readonly #structs: ReadonlySet<string>;

  constructor(structs: ReadonlySet<string>) {
    this.#structs = structs;
  }

  use(name: string): string {
    this.uses.add(name);
    return name;
  }

  #known(type: string): string | undefined {
    return this.#structs.has(type) ? type : undefined;
  }

  /** The members for a value of that shape; `at` is an expression: its address. `index`: a parameter of getter and setter. */
  members(name: string, shape: FieldShape, at: string, index = ''): string[] {
    const get = (type: string, body: string): string =>
      index === '' ? `@inline get ${name}(): ${type} { ${body} }` : `@inline ${name}At(${index}): ${type} { ${body} }`;
    const set = (type: string, body: string): string =>
      index === ''
        ? `@inline set ${name}(value: ${type}) { ${body} }`
        : `@inline set${capital(name)}At(${index}, value: ${type}): void { ${body} }`;
    const plain = (type: string): string[] => [get(type, `return load<${type}>(${at});`), set(type, `store<${type}>(${at}, value);`)];
    switch (shape.kind) {
      case 'number':
      case 'bigint':
        return plain(shape.type);
      case 'bool':
        return [get('bool', `return load<u8>(${at}) != 0;`), set('bool', `store<u8>(${at}, value ? 1 : 0);`)];
      case 'oneOf':
        return plain(shape.values.length <= 256 ? 'u8' : 'u16');
      case 'text':
        return [get('string', `return ${this.use('textOf')}(${at});`), set('string', `failed(${this.use('setText')}(${at}, value));`)];
      case 'bytes':
        return [
          get('Uint8Array', `return ${this.use('bytesOf')}(${at});`),
          set('Uint8Array', `failed(${this.use('setBytes')}(${at}, value));`),
        ];
      case 'ref':
      case 'link': {
        const type = shape.kind === 'ref' ? this.#known(shape.type) : undefined;
        const [follow, refer] = [this.use('follow'), this.use('setReference')];
        if (type === undefined) return [get('usize', `return ${follow}(${at});`), set('usize', `failed(${refer}(${at}, value));`)];
        return [
          get(`${type} | null`, `return changetype<${type} | null>(${follow}(${at}));`),
          set(`${type} | null`, `failed(${refer}(${at}, changetype<usize>(value)));`),
        ];
      }
      case 'struct':
        return [get(shape.type, `return changetype<${shape.type}>(${at});`)];
      case 'collection': {
        const type = this.#collection(shape);
        return [get(type, `return new ${type}(${at}, ${quoted(shape.type)});`)];
      }
      case 'array': {
        const { length, stride, of } = shape;
        const checked = `${at} + this.${name}Index(i) * ${stride}`;
        const one = index === '' ? this.members(name, of, checked, 'i: i32') : [];
        return [
          `@inline private ${name}Index(i: i32): usize { if (<u32>i >= ${length}) throw new RangeError('${name}'); return <usize>i; }`,
          `@inline get ${name}Length(): i32 { return ${length}; }`,
          ...one,
        ];
      }
      case 'optional': {
        const inner = this.members(name, shape.of, `${at} + ${shape.at}`, index);
        const absent = `@inline get has${capital(name)}(): bool { return load<u8>(${at}) != 0; }`;
        if (index !== '') return inner;
        return [
          absent,
          `@inline set has${capital(name)}(value: bool) { store<u8>(${at}, value ? 1 : 0); }`,
          ...inner.map((member) => member.replace(/^(@inline set \w+\([^)]*\) \{) /, `$1 store<u8>(${at}, 1); `)),
        ];
      }
    }
  }

  #collection(shape: CollectionFieldShape): string {
    const { family, key, value } = useOf(shape);
    const keyType = key === 'text' ? 'string' : key;
    if (family === 'set') return `${this.use('SetOf')}<${keyType}>`;
    const before = family === 'map' ? 'MapOf' : 'VecOf';
    const types = (type: string): string => (family === 'map' ? `<${keyType}, ${type}>` : `<${type}>`);
    if (family !== 'other') {
      const plain = value === undefined ? undefined : plainType(value);
      if (plain !== undefined) return this.use(before) + types(plain);
      if (value?.kind === 'struct') return this.use(`${before}Structs`) + types(value.type);
      if (value?.kind === 'ref' && this.#known(value.type) !== undefined) return this.use(`${before}References`) + types(value.type);
    }
    return this.use('Collection');
  }

  struct(layout: StructLayout): string[] {
    const { name, size, version, fingerprint, schema, fields } = layout;
    const lines = [
      `/** ${size} bytes, version ${version}. An address: it is good while its object is mapped. */`,
      '@unmanaged',
      `export class ${name} {`,
      `  static readonly SIZE: u32 = ${size};`,
      `  static readonly FINGERPRINT: u64 = 0x${fingerprint};`,
      `  static readonly SCHEMA: string = ${quoted(schema)};`,
      '',
      '  /** The root of an object, where it is of this type. */',
      `  static root(object: Obj | null): ${name} | null {`,
      `    return changetype<${name} | null>(rootOf(object === null ? 0 : object.base, ${name}.FINGERPRINT));`,
      '  }',
      '',
      '  /** A new object whose root is of this type, all zeros; in a transaction. `reserve`: bytes to keep room for. */',
      `  static create(reserve: u32 = 0): ${name} | null {`,
      '    const object = Obj.create(reserve);',
      '    if (object === null) return null;',
      `    const at = object.allocate(${name}.SIZE);`,
      `    return at == 0 || failed(object.setRoot(at, ${name}.SCHEMA)) ? null : changetype<${name}>(at);`,
      '  }',
      '',
      '  /** A new one, all zeros, in the object that `near` lies in; in a transaction. */',
      `  static near(near: usize): ${name} | null {`,
      `    return changetype<${name} | null>(allocate(near, ${name}.SIZE));`,
      '  }',
      '',
      '  /** Where it lies. */',
      '  @inline get $at(): usize { return changetype<usize>(this); }',
    ];
    for (const field of fields) lines.push(...this.#field(name, field));
    lines.push('}');
    for (const { name: field, shape } of fields) {
      const values = shape.kind === 'oneOf' ? shape.values : shape.kind === 'optional' && shape.of.kind === 'oneOf' ? shape.of.values : [];
      if (values.length === 0) continue;
      const type = values.length <= 256 ? 'u8' : 'u16';
      lines.push('', `/** What ${name}.${field} may be. */`, `export namespace ${name}${capital(field)} {`);
      for (const [i, each] of valueNames(values).entries()) lines.push(`  export const ${each}: ${type} = ${i};`);
      lines.push('}');
    }
    return lines;
  }

  #field(struct: string, { name, offset, shape }: PlacedField): string[] {
    const at = `changetype<usize>(this) + ${offset}`;
    const what = 'type' in shape && shape.type.length < 80 ? shape.type : shape.kind;
    return [
      '',
      `  // ${struct}.${name}: ${what.replaceAll(/\s/g, ' ')}, at ${offset}`,
      ...this.members(name, shape, at).map((member) => `  ${member}`),
    ];
  }
}

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

function plainType(shape: FieldShape): string | undefined {
  if (shape.kind === 'number' || shape.kind === 'bigint' || shape.kind === 'bool') return shape.type;
  return shape.kind === 'text' ? 'string' : undefined;
}

export function layoutsAssemblyScript(layouts: readonly StructLayout[]): string {
  const source = new Source(new Set(layouts.map(({ name }) => name)));
  const structs = layouts.flatMap((layout) => ['', ...source.struct(layout)]);
  const lines = [`/** ${MADE_BY} */`, `import { ${[...source.uses].sort().join(', ')} } from 'twizzler';`, ...structs];
  return `${lines.join('\n')}\n`;
}
