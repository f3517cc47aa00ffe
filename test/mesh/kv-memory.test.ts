import { memoryBucket } from "#mesh";
import { kvContract } from "./kv.contract.ts";

kvContract("the memory bucket", () => {
  const bucket = memoryBucket();
  return Promise.resolve(() => Promise.resolve(bucket.open()));
});
