// Which bodies `fetch` has unpacked. Its answers keep the headers of what travelled, `content-encoding` and the length of the packed bytes;
// sent on with those, the bytes would be nonsense to their reader.

/** What undici unpacks; a body with any other coding is as it travelled. */
const CODINGS: ReadonlySet<string> = new Set(["gzip", "x-gzip", "deflate", "br", "zstd"]);

/** The streams of answers, which an application may have put into a Response of its own. */
const streams = new WeakSet<ReadableStream>();

/** An answer that `fetch` gave. */
export function noteDecoded(answer: Response): Response {
  if (wasPacked(answer.headers) && answer.body !== null) streams.add(answer.body);
  return answer;
}

/** Headers of this response speak of bytes that it does not hold. */
export function isDecoded(response: Response): boolean {
  if (response.body === null || !wasPacked(response.headers)) return false;
  // Only what came from the network has a URL. Its clone has one too, and so has that of another copy of undici.
  return response.url !== "" || streams.has(response.body);
}

function wasPacked(headers: Headers): boolean {
  const codings = headers.get("content-encoding");
  return codings !== null && codings.split(",").every((coding) => CODINGS.has(coding.trim().toLowerCase()));
}
