/** Names and types of objects in a space that another process has open: from the files, with the log laid over them. */
import { META, OBJECT_SIZE_MAX, PAGE } from '../abi/format.ts';
import { isTwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import type { Host } from '../host/host.ts';
import { readWhole } from './check/control.ts';
import { objectPath } from './check/image.ts';
import { eachWord, type LogSection } from './check/log-scan.ts';
import { WELL_KNOWN, readableEntries, wellKnownId } from './check/names.ts';
import { ObjectImage } from './check/object-image.ts';
import { parseSchema, type ObjectSchema } from './check/schema.ts';
import { ValueWriter } from './dump/values.ts';
import { schemaOf } from './show.ts';

/** Objects up to this size are kept in mind, to tell which fields change. */
const KEPT_BYTES = 1 << 18;
const KEPT_MAX = 2000;

export class Labels {
  readonly #host: Host;
  readonly #directory: string;
  readonly #root: ObjectId;
  readonly #images = new Map<ObjectId, ObjectImage | undefined>();
  readonly #namespaces = new Set<ObjectId>();
  readonly #schemas = new Map<string, ObjectSchema | string>();
  #paths: Map<ObjectId, string> | undefined;

  constructor(host: Host, directory: string, space: ObjectId) {
    this.#host = host;
    this.#directory = directory;
    this.#root = wellKnownId(host, space, WELL_KNOWN.root);
  }

  #image(id: ObjectId): ObjectImage | undefined {
    if (this.#images.has(id)) return this.#images.get(id);
    let bytes: Uint8Array | undefined;
    try {
      bytes = readWhole(this.#host, `${this.#directory}/${objectPath(id)}`, OBJECT_SIZE_MAX);
    } catch (error) {
      if (!isTwzError(error)) throw error;
    }
    const image = bytes === undefined || bytes.length < PAGE || bytes.length > KEPT_BYTES ? undefined : new ObjectImage(bytes);
    this.#keep(id, image);
    return image;
  }

  #keep(id: ObjectId, image: ObjectImage | undefined): void {
    this.#images.delete(id);
    this.#images.set(id, image);
    for (const old of this.#images.keys()) {
      if (this.#images.size <= KEPT_MAX) break;
      if (!this.#namespaces.has(old)) this.#images.delete(old);
    }
  }

  /** Lays a committed section over what is known. Gives the fields of the root that it changes, with their new values. */
  apply(section: LogSection, withFields = false): string[] {
    const { id, operation, size } = section;
    if (operation === 'remove') {
      this.#images.delete(id);
      if (this.#namespaces.delete(id)) this.#paths = undefined;
      return [];
    }
    const wanted = withFields || operation === 'create' || this.#namespaces.has(id);
    if (!wanted) return [];
    const before = operation === 'create' ? undefined : this.#image(id);
    if (before === undefined && operation !== 'create') return [];
    if (size > KEPT_BYTES) return [];
    const fields = withFields && before !== undefined ? this.#fields(before) : undefined;
    const bytes = new Uint8Array(Math.max(size, before?.bytes.length ?? 0));
    if (before !== undefined) bytes.set(before.bytes);
    eachWord(section, (at, word) => {
      if (at + 8 <= bytes.length) bytes.set(word, at);
    });
    const image = new ObjectImage(bytes.subarray(0, size));
    this.#keep(id, image);
    if (this.#namespaces.has(id) || this.type(id) === 'Namespace') {
      this.#namespaces.add(id);
      this.#paths = undefined;
    }
    if (!withFields) return [];
    const changed: string[] = [];
    for (const [name, value] of this.#fields(image))
      if (fields === undefined || fields.get(name) !== value) changed.push(`${name} = ${value}`);
    return changed;
  }

  #schema(image: ObjectImage): ObjectSchema | string {
    const text = image.u32(META.schema) === 0 ? undefined : image.textAt(image.u32(META.schema));
    if (text === undefined) return schemaOf(image);
    let schema = this.#schemas.get(text);
    if (schema === undefined) {
      schema = parseSchema(text);
      this.#schemas.set(text, schema);
    }
    return schema;
  }

  #fields(image: ObjectImage): Map<string, string> {
    const fields = new Map<string, string>();
    const schema = this.#schema(image);
    const root = image.u32(META.root);
    const struct = typeof schema === 'string' ? undefined : schema.types.get(schema.root);
    if (typeof schema === 'string' || struct === undefined || root < PAGE || root + struct.size > image.size) return fields;
    const entries = new Map<string, number>();
    for (const { id, index } of image.fotEntries()) if (id !== undefined && !entries.has(id)) entries.set(id, index);
    const value = new ValueWriter(image, schema, entries, new Uint8Array(image.bytes.length)).struct(root, struct);
    for (const [name, item] of Object.entries(value)) fields.set(name, JSON.stringify(item));
    return fields;
  }

  type(id: ObjectId): string | undefined {
    const image = this.#image(id);
    const schema = image === undefined ? undefined : this.#schema(image);
    return schema === undefined || typeof schema === 'string' ? undefined : schema.root;
  }

  /** The first path that leads to the object. */
  name(id: ObjectId): string | undefined {
    this.#paths ??= this.#walk();
    return this.#paths.get(id);
  }

  #walk(): Map<ObjectId, string> {
    const paths = new Map<ObjectId, string>([[this.#root, '/']]);
    const todo: { id: ObjectId; path: string }[] = [{ id: this.#root, path: '' }];
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      const image = this.#image(next.id);
      if (image === undefined) continue;
      this.#namespaces.add(next.id);
      for (const { name, kind, target } of readableEntries(this.#host, next.id, image).entries) {
        if (target === undefined || kind === 'link' || paths.has(target)) continue;
        paths.set(target, `${next.path}/${name}`);
        if (kind === 'namespace') todo.push({ id: target, path: `${next.path}/${name}` });
      }
    }
    return paths;
  }
}
