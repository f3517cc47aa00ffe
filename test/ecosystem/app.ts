// One kind of session for each package of the table. With MESH_ECOSYSTEM=top the packages are imported by this module, before the built-in
// objects are closed; with "late", when a handler first needs them. MESH_ECOSYSTEM_PACKAGES names those that take part.

import { defineMesh, SessionServer } from "sessionmesh";

/** What each module of `uses/` has. A Response is answered as it is, anything else as JSON. */
interface Package {
  use(request: Request): unknown;
}

const names = (process.env["MESH_ECOSYSTEM_PACKAGES"] ?? "").split(",");
const load = async (name: string): Promise<Package> => (await import(`./uses/${name}.js`)) as Package;
const early = new Map<string, Package>();
if (process.env["MESH_ECOSYSTEM"] === "top") {
  for (const name of names) early.set(name, await load(name));
}

function sessionOf(name: string) {
  return class extends SessionServer {
    override async fetch(request: Request): Promise<Response> {
      const { use } = early.get(name) ?? (await load(name));
      const result = await use(request);
      return result instanceof Response ? result : Response.json(result);
    }
  };
}

export default defineMesh({ sessions: Object.fromEntries(names.map((name) => [name, sessionOf(name)])) });
