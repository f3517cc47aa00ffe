// Which registry a query goes to. The user's word first (an option or its variable), then the mesh that `mesh up` runs from this
// folder, then what a node with no configuration would use.

import { readUpFile } from "../up-file.ts";

export interface RegistryOptions {
  /** --mesh or MESH_NAME. */
  readonly mesh?: string;
  /** --nats or NATS_URL. */
  readonly nats?: string;
}

export interface RegistryPlace {
  readonly mesh: string;
  readonly nats: string;
}

const LOCAL_NATS = "nats://127.0.0.1:4222";
/** As in a node's configuration; importing that here would load a whole node for a question. */
export const DEFAULT_MESH = "mesh";

export function registryPlace(options: RegistryOptions, folder: string): RegistryPlace {
  // The file is asked only when nobody named the servers: its mesh name belongs to its NATS.
  const up = options.nats === undefined ? readUpFile(folder) : undefined;
  return {
    nats: options.nats ?? up?.nats ?? LOCAL_NATS,
    mesh: options.mesh ?? up?.mesh ?? DEFAULT_MESH,
  };
}
