import { enableMapSet, produce } from "immer";

export function use() {
  enableMapSet();
  const before = { list: [1], map: new Map() };
  const after = produce(before, (draft) => {
    draft.list.push(2);
    draft.map.set("a", 1);
  });
  return { before: before.list, after: after.list, map: [...after.map] };
}
