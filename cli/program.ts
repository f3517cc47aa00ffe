// The command line: its commands, their options and what they are called in --help. Exit codes: 0 fine, 1 it failed, 2 it was asked
// wrongly. What a command needs is loaded when it runs, so that --help and queries start at once.

import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { MeshError } from "#proto";
import { completionScript, SHELLS, type Shell } from "./completion.ts";
import type { DevOptions } from "./dev.ts";
import type { NodeOptions } from "./node.ts";
import { overriddenVariables } from "./overridden-variables.ts";
import type { CountOptions, ListOptions, QueryOptions } from "./registry/commands.ts";
import { DEFAULT_MESH } from "./registry/where.ts";
import { endWhenReaderLeaves, print, sayError, sayWarning } from "./terminal.ts";
import { unknownVariables } from "./unknown-variables.ts";
import type { UpOptions } from "./up.ts";

const FAILED = 1;
const ASKED_WRONGLY = 2;

/** More nodes than this on one machine is a mistake of typing: each worker costs some 60 MB. */
const NODES_MAX = 64;
const WORKERS_MAX = 256;
/** The registry's own limit of one page. */
const LIST_MAX = 1_000;

/** Runs one command; resolves with the exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  endWhenReaderLeaves();
  let code = 0;
  for (const line of await unknownVariables(process.env)) sayWarning(line);
  const program = buildProgram((result) => (code = result));
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (thrown) {
    // commander has said what is wrong; its exit code is 0 only for --help and --version.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : ASKED_WRONGLY;
    if (thrown instanceof MeshError) sayError(thrown.message);
    else sayError(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    return FAILED;
  }
}

function buildProgram(onCode: (code: number) => void): Command {
  const program = new Command("mesh")
    .description("Run a mesh of session servers, and ask what lives in it.")
    .version(version(), "-V, --version")
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("(mesh --help shows the commands)")
    .hook("preAction", async (_program, command) => {
      const [app] = command.args;
      const { import: modules } = command.opts<{ readonly import?: readonly string[] }>();
      if (app === undefined || modules === undefined) return;
      await (await import("./own-copy.ts")).useOwnCopy(app);
      (await import("./preload.ts")).preload(modules, app);
    });

  program
    .command("up")
    .description("run a whole mesh on this machine: NATS and several nodes; Ctrl-C ends it")
    .argument("<app>", "module of the application")
    .option("--nodes <count>", "how many nodes", whole(1, NODES_MAX), 3)
    .option("--workers <count>", "worker processes of each node", whole(1, WORKERS_MAX), 2)
    .option("--port <port>", "of all nodes together; the nodes' own follow; 0 picks free ones", port, 8080)
    .option("--admin-port <port>", "admin port of the first node; the others follow; 0 picks free ones", port, 9080)
    .addOption(meshName().default(DEFAULT_MESH))
    .option("--nats-port <port>", "port of the NATS that is started; 0 picks a free one", port, 0)
    .option("--store <folder>", "keep the data of NATS in this folder (default: a temporary one)")
    .option("--redis", "start Redis too, for sessions with storage (REDIS_URL names one that runs)")
    .option("--no-restart", "leave a node that died as it is, instead of starting it again")
    .option("--or-dev", "when NATS cannot be found or installed, run `mesh dev` instead")
    .option("--quiet", "do not show the nodes' logs")
    .addOption(imports())
    .addOption(json("print one line of JSON when all nodes are ready"))
    .action(async (app: string, options: UpOptions) => {
      for (const line of overriddenVariables("up", process.env)) sayWarning(line);
      const { runUpCommand } = await import("./up.ts");
      onCode(await runUpCommand(app, options));
    });

  program
    .command("dev")
    .description("run one node without NATS, and start it again when a file changes that it imports")
    .argument("<app>", "module of the application")
    .option("--port <port>", "port of the gateway; 0 picks a free one", port, 8080)
    .option("--admin-port <port>", "admin port; 0 picks a free one", port, 9080)
    .option("--workers <count>", "worker processes", whole(1, WORKERS_MAX), 1)
    .option("--watch <file>", "start again when this changes, too: it is read and not imported; repeatable", collect)
    .addOption(imports())
    .addOption(json("print one line of JSON at each start"))
    .action(async (app: string, options: DevOptions) => {
      for (const line of overriddenVariables("dev", process.env)) sayWarning(line);
      const { runDevCommand } = await import("./dev.ts");
      onCode(await runDevCommand(app, options));
    });

  const node = program
    .command("node")
    .description("run one node of a mesh, configured by NATS_URL and MESH_* (what a container runs); or list the nodes")
    .enablePositionalOptions()
    .argument("<app>", "module of the application")
    .addOption(new Option("--in-memory", "keep the registry in this process: a mesh of one node").hideHelp())
    .addOption(new Option("--tell-modules", "tell the launcher what the application imports").hideHelp())
    .addOption(imports())
    .addOption(json("print one line of JSON when the node is ready"))
    .action(async (app: string, options: NodeOptions) => {
      const { runNodeCommand } = await import("./node.ts");
      onCode(await runNodeCommand(app, options));
    });

  query(node.command("list").description("the nodes of the mesh")).action(async (options: QueryOptions) =>
    (await import("./registry/commands.ts")).listNodes(options),
  );

  const session = program.command("session").description("ask for live sessions");
  query(session.command("list").description("live sessions, a page at a time"))
    .addOption(kind())
    .addOption(onNode())
    .option("--limit <count>", "sessions of a page", whole(1, LIST_MAX), 100)
    .option("--cursor <cursor>", "where the page before ended")
    .action(async (options: ListOptions) => (await import("./registry/commands.ts")).listSessions(options));
  query(session.command("get").description("one live session"))
    .argument("<kind/name>", "for example chat/lobby")
    .action(async (key: string, options: QueryOptions) =>
      (await import("./registry/commands.ts")).getSession(key, options),
    );
  query(session.command("count").description("how many sessions are live, by node"))
    .addOption(kind())
    .addOption(onNode())
    .action(async (options: CountOptions) => (await import("./registry/commands.ts")).countSessions(options));

  program
    .command("connect")
    .description("open a WebSocket in this terminal: each line is a message")
    .argument("<url>", "for example ws://127.0.0.1:8080/sessions/chat/lobby")
    .action(async (url: string) => {
      const { runConnectCommand } = await import("./connect.ts");
      onCode(await runConnectCommand(url));
    });

  const registry = program.command("registry").description("what the nodes agree on");
  query(registry.command("view").description("the view: nodes, workers and their addresses")).action(
    async (options: QueryOptions) => (await import("./registry/commands.ts")).showView(options),
  );

  program
    .command("completion")
    .description("print a script that completes this command in a shell, for example: source <(mesh completion bash)")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .action((shell: Shell) => print(completionScript(program, shell)));
  return program;
}

/** Options of every command that asks the registry. */
function query(command: Command): Command {
  return command
    .addOption(meshName())
    .addOption(
      new Option(
        "--nats <url>",
        "servers of NATS (default: those of `mesh up` in this folder, else nats://127.0.0.1:4222)",
      ).env("NATS_URL"),
    )
    .addOption(json("print the answer as JSON"));
}

function meshName(): Option {
  return new Option("--mesh <name>", "name of the mesh").env("MESH_NAME");
}

function kind(): Option {
  return new Option("--kind <kind>", "only sessions of this kind");
}

function onNode(): Option {
  return new Option("--node <id>", "only sessions on this node");
}

function imports(): Option {
  return new Option("--import <module>", "load this module first, for example tsx for syntax that Node does not run")
    .argParser(collect)
    .default([], "none");
}

function json(description: string): Option {
  return new Option("--json", description);
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    if (value < min || value > max) throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function port(text: string): number {
  return whole(0, 65_535)(text);
}

function version(): string {
  const file = findPackageJSON("..", import.meta.url);
  const match = /"version": "([^"]+)"/.exec(file === undefined ? "" : readFileSync(file, "utf8"));
  return match?.[1] ?? "unknown";
}
