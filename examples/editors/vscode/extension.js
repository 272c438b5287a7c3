// Starts `marquetry pattern lsp` and lets it answer; everything else is in the server.
"use strict";

const vscode = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = vscode.workspace.getConfiguration("marquetry").get("path", "marquetry");
  const server = { command, args: ["pattern", "lsp"], transport: TransportKind.stdio };
  client = new LanguageClient("marquetry", "Marquetry", server, {
    documentSelector: [{ language: "pat" }],
    // A file that is used may change outside of the editor.
    synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/*.pat") },
  });
  try {
    await client.start();
  } catch (error) {
    const settings = "Open settings";
    const message = `The language server \`${command}\` did not start: ${error.message}`;
    if ((await vscode.window.showErrorMessage(message, settings)) === settings) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "marquetry.path");
    }
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running?.isRunning()) {
    await running.stop();
  }
}

// Runs the tests of a file, or those whose title holds what is given, where tasks are shown.
async function test(uri, title) {
  const file = vscode.Uri.parse(uri);
  await vscode.workspace.save(file);
  const command = vscode.workspace.getConfiguration("marquetry").get("path", "marquetry");
  const only = title === undefined ? [] : ["--only", title];
  const process = new vscode.ProcessExecution(command, ["pattern", "test", file.fsPath, ...only]);
  const scope = vscode.workspace.getWorkspaceFolder(file) ?? vscode.TaskScope.Workspace;
  const task = new vscode.Task({ type: "marquetry" }, scope, "test", "marquetry", process, []);
  await vscode.tasks.executeTask(task);
}

async function activate(context) {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(
    vscode.commands.registerCommand("marquetry.restart", restart),
    vscode.commands.registerCommand("marquetry.test", test),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("marquetry.path")) {
        return restart();
      }
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
