// What session code may send on a socket, as a client takes it: text, or bytes in whatever they are held. The same that `ws` and
// servers of browsers' sockets take.

/** What `socket.send` and `broadcast` take. */
export type SocketMessage = string | ArrayBuffer | ArrayBufferView | Blob;

/** Of Node, whatever a subclass says: session code must not run while a message is on its way. */
const readBlob = Blob.prototype.arrayBuffer;
const sizeOfBlob = Object.getOwnPropertyDescriptor(Blob.prototype, "size")?.get;

/** Blobs that are being read: a broadcast reads its blob once, not for each socket. */
const readings = new WeakMap<Blob, Promise<Uint8Array>>();

/** A view of the same memory, or the blob itself, which takes time to read. Throws TypeError for anything else. */
export function outgoing(message: SocketMessage): string | Uint8Array | Blob {
  if (typeof message === "string" || message instanceof Uint8Array || message instanceof Blob) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
  throw new TypeError(
    `a socket sends a string, an ArrayBuffer, a typed array, a DataView or a Blob, not ${nameOf(message)}; use JSON.stringify for objects`,
  );
}

export function sizeOf(data: string | Uint8Array | Blob): number {
  if (typeof data === "string") return Buffer.byteLength(data);
  if (data instanceof Uint8Array) return data.byteLength;
  return Number(sizeOfBlob === undefined ? 0 : Reflect.apply(sizeOfBlob, data, []));
}

/** Rejects when the blob cannot be read, as one of a file that has changed. */
export function bytesOf(blob: Blob): Promise<Uint8Array> {
  const known = readings.get(blob);
  if (known !== undefined) return known;
  const reading = Reflect.apply(readBlob, blob, []).then((buffer) => new Uint8Array(buffer));
  readings.set(blob, reading);
  const read = (): void => void readings.delete(blob);
  reading.then(read, read);
  return reading;
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
