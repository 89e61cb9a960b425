/**
 * Twizzler for programs in AssemblyScript.
 *
 * A syscall that fails has a negative result. Functions that give a number pass it on; those that give an object, a text or a place give null,
 * an empty text or 0, and `lastError` and `errorText` say why. `must` ends the program with that text.
 *
 * A program begins in the exported function `main`, which gives its exit status. Gates are exported functions, too.
 */
export { Errors, SYSCALL_ABI } from './syscalls';
export {
  Stream,
  argument,
  argumentCount,
  errorText,
  exit,
  failed,
  lastError,
  must,
  mustBe,
  now,
  print,
  printError,
  programArguments,
  random,
  readInput,
  time,
  twz_buffer,
  twz_seed,
  twz_trace,
} from './program';
export { Kind, Obj, ObjectId, Rights, ObjectStat, transact } from './objects';
export { allocate, follow, forgetMappings, objectBase, release, rootOf, setReference } from './pointers';
export { bytesOf, setBytes, setText, textOf } from './text';
export {
  Collection,
  Cursor,
  MapOf,
  MapOfReferences,
  MapOfStructs,
  SetOf,
  VecOf,
  VecOfReferences,
  VecOfStructs,
} from './collections';
export { Gate, GateArguments, caller, giveBytes, giveText } from './gates';
