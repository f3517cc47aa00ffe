// Writes batches of the frames that travel by the ten thousand a second: a third of the time that the generated encoder takes. From
// the end to the beginning, because the length of a message stands before it and is known when the message is written. The wire form is
// mesh.proto's, fields in order and without defaults; what stands there otherwise is left to the generated encoder.

import type { Frame, HeadFrame, HeaderList, OpenFrame } from "./frame.ts";

/** Larger byte fields are copied once by the generated encoder and would be twice here. */
const BYTES_MAX = 4 * 1024;
/** Up to this length a loop is faster than a call into Node. */
const LOOP_LENGTH_MAX = 40;
/** Some hundred frames. Grows when a batch needs more, and is as it was for the next one. */
const SCRATCH_BYTES = 64 * 1024;
/** Of a tag and a number or length of 32 bits. */
const NUMBER_BYTES_MAX = 6;

const LENGTH_DELIMITED = 2;
const DOUBLE = 1;

const standard = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
const double = new Float64Array(1);
const doubleBytes = new Uint8Array(double.buffer);

let bytes = standard;
/** Everything from here on is written. */
let at = bytes.length;

/** Undefined: the batch holds something that the generated encoder must write. */
export function writeBatch(frames: readonly Frame[]): Buffer | undefined {
  bytes = standard;
  at = bytes.length;
  for (let index = frames.length - 1; index >= 0; index--) {
    const end = ended();
    const frame = frames[index];
    if (frame === undefined || !writeBody(frame)) return undefined;
    if (frame.stream !== 0) writeNumber(1, frame.stream);
    writeLength(1, end);
  }
  // A batch that is kept while it waits for its peer must not keep a whole pool.
  const batch = Buffer.allocUnsafe(ended());
  bytes.copy(batch, 0, at);
  return batch;
}

function writeBody(frame: Frame): boolean {
  const end = ended();
  switch (frame.type) {
    case "open":
      if (frame.open.body.byteLength > BYTES_MAX || frame.open.claims.byteLength > BYTES_MAX) return false;
      writeOpen(frame.open);
      writeLength(3, end);
      return true;
    case "head":
      if (frame.head.body.byteLength > BYTES_MAX) return false;
      writeHead(frame.head);
      writeLength(4, end);
      return true;
    case "message":
      if (frame.message.bytes.byteLength > BYTES_MAX) return false;
      if (frame.message.binary) writeNumber(2, 1);
      writeBytes(1, frame.message.bytes);
      writeLength(7, end);
      return true;
    case "credit":
      if (frame.credit.bytes !== 0) writeNumber(1, frame.credit.bytes);
      writeLength(8, end);
      return true;
    default:
      return false;
  }
}

function writeOpen(open: OpenFrame): void {
  writeText(14, open.protocol);
  writeBytes(13, open.claims);
  writeText(12, open.ip);
  writeText(11, open.stale);
  if (open.streamed) writeNumber(10, 1);
  writeBytes(9, open.body);
  writeDouble(8, open.timeoutMs);
  if (open.onlyIfActive) writeNumber(7, 1);
  if (open.upgrade) writeNumber(6, 1);
  writeHeaders(5, open.headers);
  writeText(4, open.url);
  writeText(3, open.method);
  writeText(2, open.key);
  writeDouble(1, open.epoch);
}

function writeHead(head: HeadFrame): void {
  writeText(5, head.statusText);
  if (head.streamed) writeNumber(4, 1);
  writeBytes(3, head.body);
  writeHeaders(2, head.headers);
  if (head.status !== 0) writeNumber(1, head.status);
}

function writeHeaders(field: number, headers: HeaderList): void {
  for (let index = headers.length - 1; index >= 0; index--) writeOneText(field, headers[index] ?? "");
}

function writeText(field: number, text: string): void {
  if (text !== "") writeOneText(field, text);
}

/** Written also when it is empty: it stands in a list. */
function writeOneText(field: number, text: string): void {
  const { length } = text;
  const end = ended();
  // UTF-8 takes at most three bytes for a unit of UTF-16.
  makeRoom(length * 3);
  if (length > LOOP_LENGTH_MAX || !writeAscii(text)) {
    const size = Buffer.byteLength(text);
    at -= size;
    bytes.write(text, at, size, size === length ? "latin1" : "utf8");
  }
  writeLength(field, end);
}

/** False, with nothing written, when the text is not ASCII. */
function writeAscii(text: string): boolean {
  let to = at;
  for (let index = text.length - 1; index >= 0; index--) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) return false;
    bytes[--to] = unit;
  }
  at = to;
  return true;
}

function writeBytes(field: number, value: Uint8Array): void {
  if (value.byteLength === 0) return;
  const end = ended();
  makeRoom(value.byteLength);
  at -= value.byteLength;
  bytes.set(value, at);
  writeLength(field, end);
}

function writeDouble(field: number, value: number): void {
  if (value === 0) return;
  makeRoom(doubleBytes.length + 1);
  double[0] = value;
  at -= doubleBytes.length;
  bytes.set(doubleBytes, at);
  bytes[--at] = (field << 3) | DOUBLE;
}

/** Of what was written since `end`. */
function writeLength(field: number, end: number): void {
  const length = ended() - end;
  makeRoom(NUMBER_BYTES_MAX);
  writeVarint(length);
  bytes[--at] = (field << 3) | LENGTH_DELIMITED;
}

function writeNumber(field: number, value: number): void {
  makeRoom(NUMBER_BYTES_MAX);
  writeVarint(value);
  bytes[--at] = field << 3;
}

/** An unsigned number of 32 bits. */
function writeVarint(value: number): void {
  if (value < 0x80) {
    bytes[--at] = value;
    return;
  }
  const length = value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
  at -= length;
  let rest = value;
  for (let index = 0; index < length - 1; index++) {
    bytes[at + index] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at + length - 1] = rest;
}

/** Bytes written so far. */
function ended(): number {
  return bytes.length - at;
}

function makeRoom(size: number): void {
  if (at >= size) return;
  const length = Math.max(bytes.length * 2, ended() + size);
  const larger = Buffer.allocUnsafeSlow(length);
  bytes.copy(larger, length - ended(), at);
  at = length - ended();
  bytes = larger;
}
