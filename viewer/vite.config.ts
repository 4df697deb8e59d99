import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    outDir: "../src/rlef/view/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        entryFileNames: "assets/viewer-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/viewer-[hash][extname]",
      },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8420" } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
