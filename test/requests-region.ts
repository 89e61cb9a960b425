/** The requests that the tests' processes send each other. */
import { f64, struct, structRecord, type Init, type Instance, type RecordType } from '../src/index.ts';

const FIELDS = { value: f64 };
type Value = RecordType<Instance<typeof FIELDS>, Init<typeof FIELDS>>;
const record: Value = structRecord(struct('Value', FIELDS));

export const REQUESTS_AT = 256;
export const BYTES: number = 2 ** 19;
export const RECORDS: { readonly request: Value; readonly completion: Value } = { request: record, completion: record };
