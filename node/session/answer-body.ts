// The streamed body of another session's answer, for a caller that may abort after the head: then its reader gets the signal's reason at
// once, and the other session hears of it. Made only where there is a signal.

export interface AnswerBodyOptions {
  readonly signal: AbortSignal;
  /** Tells the session that answers. */
  readonly aborted: () => void;
}

/** `source`, until the signal is aborted. */
export function answerBody(
  source: ReadableStream<Uint8Array>,
  { signal, aborted }: AnswerBodyOptions,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  const { promise: broken, reject: breakOff } = Promise.withResolvers<never>();
  // Whoever reads hears of it by the read; nobody may be reading.
  broken.catch(() => undefined);
  const onAbort = (): void => {
    breakOff(signal.reason);
    aborted();
    reader.cancel(signal.reason).catch(() => undefined);
  };
  const settle = (): void => signal.removeEventListener("abort", onAbort);
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        broken.catch((reason: unknown) => controller.error(reason));
      },
      async pull(controller) {
        try {
          const step = await Promise.race([reader.read(), broken]);
          if (!step.done) {
            controller.enqueue(step.value);
            return;
          }
        } catch (error) {
          settle();
          throw error;
        }
        settle();
        controller.close();
      },
      async cancel(reason) {
        settle();
        await reader.cancel(reason);
      },
    },
    // Nothing is asked for before somebody reads.
    { highWaterMark: 0 },
  );
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return stream;
}
