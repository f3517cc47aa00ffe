// The page at `/`: what this server is and what to try first, as HTML for browsers, JSON for programs, text for terminals.

import type { SessionReply } from "#mesh";
import type { HeaderList } from "#proto";

interface FrontPage {
  readonly origin: string;
  readonly kinds: readonly string[];
}

/** @param url of the request: examples use its origin */
export function frontPageReply(url: string, headers: HeaderList, kinds: readonly string[]): SessionReply {
  const page = { origin: new URL(url).origin, kinds };
  const type = preferred(headers);
  if (type === "json") return reply("application/json", `${JSON.stringify(json(page), undefined, 2)}\n`);
  if (type === "text") return reply("text/plain; charset=utf-8", text(page));
  return reply("text/html; charset=utf-8", html(page), ["content-security-policy", CONTENT_POLICY]);
}

// Nothing is loaded and nothing runs: the page cannot be turned into more than text and links.
const CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

function reply(type: string, body: string, extra: readonly string[] = []): SessionReply {
  const headers = ["content-type", type, "vary", "accept", "x-content-type-options", "nosniff", ...extra];
  return { status: 200, statusText: "", headers, body };
}

/** The first of our types in the client's list. Quality values are not weighed: browsers put HTML first, programs ask for one type. */
function preferred(headers: HeaderList): "html" | "json" | "text" {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== "accept") continue;
    for (const range of (headers[at + 1] ?? "").toLowerCase().split(",")) {
      const type = range.split(";", 1)[0]?.trim();
      if (type === "text/html" || type === "application/xhtml+xml") return "html";
      if (type === "application/json") return "json";
      if (type === "text/plain") return "text";
    }
  }
  return "text";
}

function json({ origin, kinds }: FrontPage): unknown {
  return {
    server: "sessionmesh",
    kinds: kinds.map((kind) => ({
      kind,
      example: `${origin}/sessions/${kind}/example`,
      socket: `${socketOrigin(origin)}/sessions/${kind}/example`,
      create: { method: "POST", url: `${origin}/sessions/${kind}` },
    })),
    paths: {
      session: "/sessions/:kind/:name/...",
      party: "/parties/:kind/:name/...",
      create: "POST /sessions/:kind",
      health: "/_mesh/health",
    },
  };
}

function text({ origin, kinds }: FrontPage): string {
  const lines = kinds.flatMap((kind) => [
    `  ${kind}`,
    `    curl ${origin}/sessions/${kind}/example`,
    `    curl -X POST ${origin}/sessions/${kind}`,
    `    ${socketOrigin(origin)}/sessions/${kind}/example`,
    "",
  ]);
  return [
    "A sessionmesh: every session is a small web server of its own.",
    "Any node takes a request for any session; a session starts with its first request.",
    "",
    "  /sessions/:kind/:name/...   one session (HTTP and WebSocket; also /parties/...)",
    "  POST /sessions/:kind        a new session with an unguessable name",
    "  /_mesh/health               200 while this worker takes traffic",
    "",
    "Kinds of this application:",
    "",
    ...lines,
  ].join("\n");
}

function html({ origin, kinds }: FrontPage): string {
  const cards = kinds.map((kind) => {
    const path = `/sessions/${kind}/example`;
    return `<li><h2>${escape(kind)}</h2>
<p><a href="${escape(path)}">${escape(path)}</a></p>
<pre>curl ${escape(origin + path)}
curl -X POST ${escape(`${origin}/sessions/${kind}`)}
${escape(socketOrigin(origin) + path)}</pre></li>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sessionmesh</title>
<style>${STYLE}</style>
<main>
<header><h1>sessionmesh</h1>
<p>Every session is a small web server of its own. Any node takes a request for any session;
a session starts with its first request and keeps its state to itself.</p></header>
<ul class="kinds">
${cards.join("\n")}
</ul>
<table>
<tr><td><code>/sessions/:kind/:name/&hellip;</code><td>one session, over HTTP and WebSocket
<tr><td><code>/parties/:kind/:name/&hellip;</code><td>the same, for the partysocket client
<tr><td><code>POST /sessions/:kind</code><td>a new session with an unguessable name
<tr><td><code><a href="/_mesh/health">/_mesh/health</a></code><td>200 while this worker takes traffic
</table>
</main>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: #17212b; --soft: #5b6b7a; --line: #d8e0e7; --card: #fff; --page: #f4f7f9; --accent: #0b6bcb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #93a1ae; --line: #2b3742; --card: #18212a; --page: #10171d; --accent: #6cb6ff; }
}
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem; }
h1 { margin: 0; font-size: 2.25rem; letter-spacing: -0.02em; }
header p { margin: 0.5rem 0 2rem; max-width: 38rem; color: var(--soft); }
.kinds { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; padding: 0; list-style: none; }
.kinds li { min-width: 0; padding: 1.25rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
h2 { margin: 0; font-size: 1.15rem; }
.kinds p { margin: 0.25rem 0 0.75rem; overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 0.2em; }
pre, code { font: 0.85rem/1.6 ui-monospace, monospace; }
pre { margin: 0; padding: 0.75rem 1rem; overflow-x: auto; background: var(--page); border-radius: 8px; }
table { margin-top: 2rem; border-collapse: collapse; width: 100%; }
td { padding: 0.5rem 1rem 0.5rem 0; border-top: 1px solid var(--line); color: var(--soft); vertical-align: top; }
td code { color: var(--ink); }
`;

function socketOrigin(origin: string): string {
  return origin.replace(/^http/, "ws");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
