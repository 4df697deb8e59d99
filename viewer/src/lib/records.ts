/** Values of which nothing is known but that they are JSON. */

export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Nested values by their keys with dots. */
export function flatten(value: unknown, path = "", found: Record<string, unknown> = {}): Record<string, unknown> {
  if (isRecord(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path === "" ? key : `${path}.${key}`, found);
  } else if (path !== "" && value !== undefined) {
    found[path] = value;
  }
  return found;
}
