/** Addresses as text and as bytes: IPv4 as 127.0.0.1, IPv6 as ::1. Names are for who can ask for them; `localhost` is known. */
import { ADDRESS } from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

function invalid(host: string): TwzError {
  return new TwzError('AddressInvalid', `"${host}" is no IP address`, { host });
}

function parse4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined;
  return parts.map(Number);
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [i, group] of groups.entries()) {
    const last = i === groups.length - 1 && group.includes('.') ? parse4(group) : undefined;
    if (last !== undefined) bytes.push(...last);
    else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >>> 8, value & 255);
    } else return undefined;
  }
  return bytes;
}

function parse6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [before, after] = halves.map(parseGroups);
  if (before === undefined || (halves.length === 2 && after === undefined)) return undefined;
  const missing = 16 - before.length - (after?.length ?? 0);
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...before, ...Array.from({ length: missing }, () => 0), ...(after ?? [])];
}

/** Writes an address at byte `at`. Throws AddressInvalid. */
export function writeAddress({ u8, dv }: { readonly u8: Uint8Array; readonly dv: DataView }, at: number, { host, port }: Address): void {
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) throw new TwzError('AddressInvalid', `${port} is no port`, { port });
  const text = host === 'localhost' ? '127.0.0.1' : host;
  const four = parse4(text);
  const bytes = four ?? parse6(text);
  if (bytes === undefined) throw invalid(host);
  u8.fill(0, at, at + ADDRESS.bytes);
  dv.setUint32(at + ADDRESS.family, four === undefined ? 6 : 4, true);
  dv.setUint32(at + ADDRESS.port, port, true);
  u8.set(bytes, at + ADDRESS.address);
}

/** As a person would write it: the longest run of zero groups is left out. */
function show6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0)).toString(16));
  const [run] = [
    ...groups
      .map((group) => (group === '0' ? '0' : '1'))
      .join('')
      .matchAll(/0{2,}/g),
  ].sort((a, b) => b[0].length - a[0].length);
  if (run === undefined) return groups.join(':');
  return `${groups.slice(0, run.index).join(':')}::${groups.slice(run.index + run[0].length).join(':')}`;
}

/** The address at byte `at`. Throws AddressInvalid. */
export function readAddress({ u8, dv }: { readonly u8: Uint8Array; readonly dv: DataView }, at: number): Address {
  const family = dv.getUint32(at + ADDRESS.family, true);
  const port = dv.getUint32(at + ADDRESS.port, true);
  const bytes = u8.slice(at + ADDRESS.address, at + ADDRESS.address + (family === 4 ? 4 : 16));
  if ((family !== 4 && family !== 6) || port > 65_535)
    throw new TwzError('AddressInvalid', `no address of family ${family}, port ${port}`, { family, port });
  return { host: family === 4 ? bytes.join('.') : show6(bytes), port };
}

/** Whether it leads to this machine alone. */
export function isLoopback(host: string): boolean {
  const four = parse4(host);
  if (four !== undefined) return four[0] === 127;
  const six = parse6(host);
  if (six === undefined) return false;
  const mapped = six.slice(0, 10).every((byte) => byte === 0) && six[10] === 255 && six[11] === 255;
  return mapped ? six[12] === 127 : six.slice(0, 15).every((byte) => byte === 0) && six[15] === 1;
}
