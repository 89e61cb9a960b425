/** What lies inline in structs: other structs, and collections. */
import type { ObjectSchema, Shape } from '../check/schema.ts';
import type { CollectionShape } from './contents.ts';
import type { Operation, StructPlan } from './plan.ts';

export interface Inline {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** The name of a collection as a type that references lead to; undefined where none can. */
function typeName(schema: ObjectSchema, shape: CollectionShape): string | undefined {
  for (const [name, { fields }] of schema.types)
    if (name.includes('<') && fields[0]?.shape.kind === 'collection' && fields[0].shape.type === shape.type) return name;
  return undefined;
}

/** Structs inside a struct, arrays included, with their offsets before and after; and collections that references may lead to. */
export function inlineOf(operations: readonly Operation[], from = 0, to = 0): Inline[] {
  return operations.flatMap((operation): Inline[] => {
    const [a, b] = [from + operation.from, to + operation.to];
    switch (operation.kind) {
      case 'struct':
        return [{ name: operation.plan.old.name, from: a, to: b }, ...inlineOfPlan(operation.plan, a, b)];
      case 'array':
        if (inlineOf([operation.each]).length === 0) return [];
        return Array.from({ length: operation.length }, (_, i) =>
          inlineOf([operation.each], a + i * operation.fromStride, b + i * operation.toStride),
        ).flat();
      case 'optional':
        return inlineOf([operation.of], a + (operation.fromAt ?? 0), b + operation.toAt);
      case 'collection': {
        const name = typeName(operation.oldSchema, operation.old);
        return name === undefined ? [] : [{ name, from: a, to: b }];
      }
      default:
        return [];
    }
  });
}

export function inlineOfPlan(plan: StructPlan, from: number, to: number): Inline[] {
  let inline: Inline[] | undefined;
  for (const { operations } of plan.stages) {
    const next = inlineOf(operations);
    inline =
      inline?.flatMap((each): Inline[] => {
        const on = next.find((other) => other.from === each.to);
        return on === undefined ? [] : [{ name: each.name, from: each.from, to: on.to }];
      }) ?? next;
  }
  return (inline ?? []).map((each) => ({ name: each.name, from: from + each.from, to: to + each.to }));
}

/** Is there a collection in it before or after? */
export function holdsCollection(operation: Operation): boolean {
  if (operation.kind === 'array') return holdsCollection(operation.each);
  if (operation.kind === 'optional') return holdsCollection(operation.of);
  if (operation.kind !== 'struct') return operation.kind === 'collection';
  return operation.plan.stages.some(
    ({ operations, dropped }) => operations.some(holdsCollection) || dropped.some(({ shape }) => hasCollection(shape)),
  );
}

/** Without a schema what is in a struct is not known, and may be one. */
export function hasCollection(shape: Shape, schema?: ObjectSchema): boolean {
  if (shape.kind === 'optional' || shape.kind === 'array') return hasCollection(shape.of, schema);
  if (shape.kind !== 'struct') return shape.kind === 'collection';
  return schema === undefined || (schema.types.get(shape.type)?.fields ?? []).some((field) => hasCollection(field.shape, schema));
}
