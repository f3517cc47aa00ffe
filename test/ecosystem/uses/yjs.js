import * as Y from "yjs";

export function use() {
  const [left, right] = [new Y.Doc(), new Y.Doc()];
  left.on("update", (update) => Y.applyUpdate(right, update));
  left.getText("t").insert(0, "hello");
  left.getText("t").insert(5, " world");
  left.getMap("m").set("a", 1);
  return { text: right.getText("t").toString(), map: right.getMap("m").toJSON() };
}
