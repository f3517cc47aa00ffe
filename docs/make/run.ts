// Writes the pages that are made from the source. test/docs/pages.test.ts compares them.

import { writeFileSync } from "node:fs";
import path from "node:path";
import { apiPage } from "./api-page.ts";
import { configurationPage } from "./configuration-page.ts";

const DOCS = path.join(import.meta.dirname, "..");

writeFileSync(path.join(DOCS, "api.md"), apiPage());
writeFileSync(path.join(DOCS, "configuration.md"), configurationPage());
