// Cuts pattern files as an editor would, and fails where a word gets no scope of its own.
//
//   npm install --no-save vscode-textmate vscode-oniguruma
//   node tokenize.mjs ../../../patterns/*.pat ../../../patterns/std/*.pat
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

const here = path.dirname(new URL(import.meta.url).pathname);
const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
await oniguruma.loadWASM(wasm);

const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (sources) => new oniguruma.OnigScanner(sources),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => {
    const file = path.join(here, "syntaxes", "pat.tmLanguage.json");
    return textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file);
  },
});

const grammar = await registry.loadGrammar("source.pat");
const show = process.argv.includes("--show");
let bare = 0;
for (const file of process.argv.slice(2).filter((argument) => !argument.startsWith("--"))) {
  let state = textmate.INITIAL;
  const lines = fs.readFileSync(file, "utf8").split("\n");
  lines.forEach((line, at) => {
    const { tokens, ruleStack } = grammar.tokenizeLine(line, state);
    state = ruleStack;
    for (const { startIndex, endIndex, scopes } of tokens) {
      const text = line.slice(startIndex, endIndex);
      if (show && text.trim()) {
        console.log(`${text.trim().padEnd(24)} ${scopes.at(-1)}`);
      }
      if (scopes.length === 1 && /[\p{L}\p{N}]/u.test(text)) {
        console.error(`${file}:${at + 1}: no scope for \`${text}\``);
        bare += 1;
      }
    }
  });
}
process.exit(bare > 0 ? 1 : 0);
