import fc from 'fast-check';

/** Any code point that is no surrogate. As the unit `binary` of fast-check, whose tables take a second to make. */
export const anyCharacter: fc.Arbitrary<string> = fc.nat(0x10ffff - 0x800).map((n) => String.fromCodePoint(n < 0xd800 ? n : n + 0x800));
