// Any Unicode character, as a unit of fast-check strings. fast-check's own `binary` unit says the same and takes seconds to prepare.

import fc from "fast-check";

const SURROGATES = 0x800;
const SURROGATES_BEGIN = 0xd800;

/** Any code point but the surrogates, which no UTF-8 text can hold. Half of them ASCII. */
export const unicode: fc.Arbitrary<string> = fc
  .oneof(fc.nat(0x7f), fc.nat(0x10ffff - SURROGATES))
  .map((at) => String.fromCodePoint(at < SURROGATES_BEGIN ? at : at + SURROGATES));
