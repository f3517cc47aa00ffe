import * as Automerge from "@automerge/automerge";

export function use() {
  const first = Automerge.from({ title: "", cards: ["a"] });
  const left = Automerge.change(Automerge.clone(first), (doc) => doc.cards.push("b"));
  const right = Automerge.change(Automerge.clone(first), (doc) => {
    doc.title = "both";
  });
  const { title, cards } = Automerge.load(Automerge.save(Automerge.merge(left, right)));
  return { cards: [...cards], title: String(title) };
}
