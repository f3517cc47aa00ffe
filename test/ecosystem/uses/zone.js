import "zone.js/node";

export function use() {
  const zone = globalThis.Zone.current.fork({ name: "mine" });
  return zone.run(async () => {
    const { name } = globalThis.Zone.current;
    const later = await new Promise((resolve) => {
      setTimeout(() => resolve(globalThis.Zone.current.name), 1);
    });
    return { zone: name, later };
  });
}
