// Reading a message body without a native Request or Response around it.

import type { Body } from "#mesh";
import { MeshError } from "#proto";

// Like the fetch standard: malformed bytes become U+FFFD and a byte order mark is dropped.
const decoder = new TextDecoder();

/** Without waiting where the body is at hand, which spares the promises of all readers on top of this. */
export function readText(body: Body): string | Promise<string> {
  if (typeof body === "string") return (body.startsWith("\ufeff") ? body.slice(1) : body).toWellFormed();
  if (body === null) return "";
  return body instanceof Uint8Array ? decoder.decode(body) : readStreamText(body);
}

async function readStreamText(body: ReadableStream<Uint8Array>): Promise<string> {
  return decoder.decode(await readBytes(body));
}

/** Bytes of the reader's own: what it does to them reaches nobody else. */
export async function readBytes(body: Body): Promise<Uint8Array<ArrayBuffer>> {
  if (body === null) return new Uint8Array();
  if (typeof body === "string") return new TextEncoder().encode(body);
  if (body instanceof Uint8Array) return copyBytes(body);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.byteLength;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** Not `bytes.slice()`: a Buffer's slice shares its memory. */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes.byteLength);
  copy.set(bytes);
  return copy;
}

/** The body, which fails with `body_too_large` as soon as more than `bytesMax` of it were read. */
export function limitBody(
  body: Uint8Array | ReadableStream<Uint8Array> | null,
  bytesMax: number,
): Uint8Array | ReadableStream<Uint8Array> | null {
  if (body === null || bytesMax === Infinity) return body;
  if (body instanceof Uint8Array && body.byteLength <= bytesMax) return body;
  let left = bytesMax;
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (body instanceof Uint8Array) throw tooLarge(bytesMax);
        reader ??= body.getReader();
        const step = await reader.read();
        if (step.done) {
          controller.close();
          return;
        }
        left -= step.value.byteLength;
        if (left < 0) {
          const error = tooLarge(bytesMax);
          // The source hears that nobody reads on; that it may fail to stop changes nothing for this reader.
          reader.cancel(error).catch(() => undefined);
          throw error;
        }
        controller.enqueue(step.value);
      },
      async cancel(reason) {
        if (body instanceof Uint8Array) return;
        await (reader ?? body).cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

export function tooLarge(bytesMax: number): MeshError {
  return new MeshError("body_too_large", `the request body is larger than the ${bytesMax} bytes that are allowed here`);
}

/** What the native classes say of a second read. */
export function alreadyRead(): TypeError {
  return new TypeError("Body is unusable: Body has already been read");
}
