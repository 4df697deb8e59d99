// Beside the built files: the licenses of what is in them, and from which sources they are, so that
// a test can tell without building.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

const viewer = fileURLToPath(new URL("..", import.meta.url));
const out = fileURLToPath(new URL("../../src/rlef/view/static", import.meta.url));

function files(root, folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    return entry.isDirectory() ? files(root, path) : [path];
  });
}

/** SHA-256 over paths and contents, in order of paths. */
function digest(root, paths) {
  const hash = createHash("sha256");
  for (const path of [...paths].sort((a, b) => (a < b ? -1 : 1))) {
    hash.update(`${path}\0`).update(readFileSync(join(root, path))).update("\0");
  }
  return hash.digest("hex");
}

const { dependencies } = JSON.parse(readFileSync(join(viewer, "package.json"), "utf8"));
const licenses = Object.keys(dependencies).sort().map((name) => {
  const folder = join(viewer, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(join(out, "licenses.txt"), licenses.join(`\n${"-".repeat(80)}\n\n`));

const sources = [
  ...["src", "public", "scripts"].flatMap((folder) => files(viewer, folder)),
  "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts",
];
const built = files(out, ".").filter((path) => path !== "manifest.json");
const manifest = { sources: digest(viewer, sources), built: digest(out, built) };
writeFileSync(join(out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
