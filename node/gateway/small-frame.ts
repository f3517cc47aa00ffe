// A short WebSocket message as one buffer. `ws` writes head and payload of a frame as two pieces in one vectored write, which costs a
// short message more than copying it. Only for sockets without compression, where `ws` itself keeps nothing back between writes.

const TEXT = 0x81;
const BINARY = 0x82;
/** The longest payload whose length fits the first form of a frame's head, and the form of the next: 16 bits. */
const LENGTH_7_MAX = 125;
const LENGTH_16 = 126;
/** Longer messages are not copied. */
const PAYLOAD_BYTES_MAX = 4_096;

/** The whole frame, final and unmasked as servers send them; undefined when the message is too long to be worth it. */
export function smallFrame(message: string | Uint8Array): Buffer | undefined {
  // A UTF-16 unit is at least one byte, so a long string needs no counting.
  if (message.length > PAYLOAD_BYTES_MAX) return undefined;
  const bytes = typeof message === "string" ? Buffer.byteLength(message) : message.byteLength;
  if (bytes > PAYLOAD_BYTES_MAX) return undefined;
  const headBytes = bytes <= LENGTH_7_MAX ? 2 : 4;
  const frame = Buffer.allocUnsafe(headBytes + bytes);
  frame[0] = typeof message === "string" ? TEXT : BINARY;
  if (headBytes === 2) {
    frame[1] = bytes;
  } else {
    frame[1] = LENGTH_16;
    frame.writeUInt16BE(bytes, 2);
  }
  // As many bytes as characters: all of it is ASCII, which latin1 writes fastest.
  if (typeof message === "string") frame.write(message, headBytes, bytes === message.length ? "latin1" : "utf8");
  else frame.set(message, headBytes);
  return frame;
}
