// Every view that NATS showed during a test, with the time at which it did: when a loss was noticed is when the view said so.

import { connectNats } from "#mesh";
import { decodeView, type View } from "#proto";

export interface SeenView {
  readonly atMs: number;
  readonly view: View;
}

export interface ViewHistory {
  readonly seen: readonly SeenView[];
  readonly last: View | undefined;
  /** Incarnations of the node and of its workers in the last view. */
  livesOf(node: string): readonly string[];
  /** Time of the first view after `atMs` that has none of these lives any more. */
  firstWithout(lives: readonly string[], atMs: number): number | undefined;
  close(): Promise<void>;
}

export async function followViews(natsUrls: string, mesh: string, replicas: number): Promise<ViewHistory> {
  const link = await connectNats(natsUrls, { name: "a chaos test" });
  const kv = await link.bucket(`MESH_${mesh}`, { replicas });
  const seen: SeenView[] = [];
  const note = (value: Uint8Array | undefined): void => {
    if (value !== undefined) seen.push({ atMs: performance.now(), view: decodeView(value) });
  };
  const readAgain = (): void => {
    kv.get("view")
      .then((entry) => note(entry?.value))
      .catch(() => {}); // The next gap or write shows it.
  };
  const stop = await kv.watch((entry) => (entry.key === "view" ? note(entry.value) : undefined), readAgain);
  const livesIn = (view: View | undefined, node: string): string[] =>
    (view?.nodes ?? [])
      .filter(({ id }) => id === node)
      .flatMap((one) => [one.incarnation, ...one.workers.map(({ incarnation }) => incarnation)]);
  return {
    seen,
    get last() {
      return seen.at(-1)?.view;
    },
    livesOf: (node) => livesIn(seen.at(-1)?.view, node),
    firstWithout(lives, atMs) {
      const gone = seen.find(
        ({ atMs: shownMs, view }) =>
          shownMs > atMs && !view.nodes.some(({ id }) => livesIn(view, id).some((life) => lives.includes(life))),
      );
      return gone?.atMs;
    },
    async close() {
      stop();
      await kv.close();
      await link.close();
    },
  };
}
