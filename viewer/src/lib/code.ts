/** Highlighted code as plain tokens: never HTML, so that nothing of a model's is parsed as such. */

import hljs from "highlight.js/lib/core";
import cpp from "highlight.js/lib/languages/cpp";
import python from "highlight.js/lib/languages/python";

hljs.registerLanguage("python", python);
hljs.registerLanguage("cpp", cpp);

export type Language = "python" | "cpp";
export type CodeToken = { text: string; scope: string | null };
export type Segment = { kind: "prose" | "code"; text: string; language: Language | null };

/** Beyond it highlighting would be felt, and nobody reads a program that long. */
const MAX_CHARS = 60_000;

interface Node {
  scope?: string;
  children: (Node | string)[];
}

export function tokens(code: string, language: Language | null): CodeToken[] {
  if (language === null || code.length > MAX_CHARS) return [{ text: code, scope: null }];
  try {
    const result = hljs.highlight(code, { language, ignoreIllegals: true });
    const root = (result._emitter as unknown as { rootNode: Node }).rootNode;
    const found: CodeToken[] = [];
    flatten(root, null, found);
    return found;
  } catch {
    return [{ text: code, scope: null }];
  }
}

function flatten(node: Node, scope: string | null, found: CodeToken[]): void {
  for (const child of node.children) {
    if (typeof child === "string") found.push({ text: child, scope });
    else flatten(child, child.scope ?? scope, found);
  }
}

/** "title.function" becomes "hl-title hl-function". */
export function scopeClass(scope: string): string {
  return scope.split(".").map((part) => `hl-${part.replace(/[^a-z0-9_-]/gi, "")}`).join(" ");
}

export function guessLanguage(program: string): Language {
  return /^\s*#\s*include\b|\bint\s+main\s*\(/m.test(program) ? "cpp" : "python";
}

/** An answer as prose and fenced blocks; a fence that is not closed runs to the end. */
export function segments(answer: string): Segment[] {
  const found: Segment[] = [];
  let kind: Segment["kind"] = "prose";
  let language: Language | null = null;
  let lines: string[] = [];
  const flush = () => {
    const text = lines.join("\n");
    if (kind === "code" || text.trim() !== "") {
      found.push({ kind, text, language: kind === "code" ? (language ?? guessLanguage(text)) : null });
    }
    lines = [];
  };
  for (const line of answer.split("\n")) {
    const fence = /^\s{0,3}```\s*([\w+#.-]*)\s*$/.exec(line);
    if (fence !== null && (kind === "prose" || fence[1] === "")) {
      flush();
      kind = kind === "prose" ? "code" : "prose";
      language = languageOf(fence[1] ?? "");
    } else {
      lines.push(line);
    }
  }
  flush();
  return found;
}

function languageOf(name: string): Language | null {
  if (/^py(thon)?[23]?$/i.test(name)) return "python";
  return /^(c|cc|cpp|cxx|c\+\+|h|hpp)$/i.test(name) ? "cpp" : null;
}
