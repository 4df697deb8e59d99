/** What the part of the address behind "#" says, and back. */

export const FILTER_KEYS = [
  "problem", "problem_is", "family", "text", "verdict", "turn", "solved", "repaired", "min_reward", "max_reward",
  "from", "to", "stop", "status", "changed_from", "direction",
] as const;

export type FilterKey = (typeof FILTER_KEYS)[number];

/** Filters and order of a list of episodes; a key that is missing does not filter. */
export type Query = { stage?: string; sort?: string; desc?: string } & { [K in FilterKey]?: string };

export type Route =
  | { view: "runs" }
  | { view: "compare"; ids: string[] }
  | { view: "run"; id: string }
  | { view: "rollouts"; id: string; query: Query }
  | { view: "episode"; id: string; stage: string; row: number; query: Query; at: number | null }
  | { view: "unknown"; hash: string };

const QUERY_KEYS: readonly string[] = ["stage", ...FILTER_KEYS, "sort", "desc"];

export function parseQuery(parameters: URLSearchParams): Query {
  const query: Record<string, string> = {};
  for (const key of QUERY_KEYS) {
    const value = parameters.get(key);
    if (value !== null && value !== "") query[key] = value;
  }
  return query as Query;
}

/** In a fixed order, so that equal filters make equal links. */
export function queryParameters(query: Query): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const key of QUERY_KEYS) {
    const value = (query as Record<string, string | undefined>)[key];
    if (value !== undefined && value !== "") parameters.set(key, value);
  }
  return parameters;
}

export function activeFilters(query: Query): FilterKey[] {
  return FILTER_KEYS.filter((key) => query[key] !== undefined && query[key] !== "");
}

export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = split(hash.replace(/^#/, ""), "?");
  const parameters = new URLSearchParams(search);
  let parts: string[];
  try {
    parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return { view: "unknown", hash };
  }
  const [first, id, stage, row] = parts;
  if (first === undefined) return { view: "runs" };
  if (first === "compare" && parts.length === 1) {
    return { view: "compare", ids: parameters.getAll("id") };
  }
  if (first !== "run" || id === undefined || parts.length > 4) return { view: "unknown", hash };
  if (stage === undefined) return { view: "run", id };
  if (stage === "rollouts" && row === undefined) {
    return { view: "rollouts", id, query: parseQuery(parameters) };
  }
  if (row === undefined || !/^\d+$/.test(row)) return { view: "unknown", hash };
  const at = parameters.get("at");
  return {
    view: "episode", id, stage, row: Number(row), query: parseQuery(parameters),
    at: at !== null && /^\d+$/.test(at) ? Number(at) : null,
  };
}

function split(text: string, by: string): [string, string] {
  const place = text.indexOf(by);
  return place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + 1)];
}

function withSearch(path: string, parameters: URLSearchParams): string {
  const search = parameters.toString();
  return search === "" ? path : `${path}?${search}`;
}

export const runsLink = "#/";

export function runLink(id: string): string {
  return `#/run/${encodeURIComponent(id)}`;
}

export function rolloutsLink(id: string, query: Query = {}): string {
  return withSearch(`${runLink(id)}/rollouts`, queryParameters(query));
}

/** `at`: place in the list that `query` makes, for "previous" and "next". */
export function episodeLink(
  id: string, stage: string, row: number, query: Query = {}, at: number | null = null,
): string {
  const { stage: _, ...rest } = query;
  const parameters = queryParameters(rest);
  if (at !== null) parameters.set("at", String(at));
  return withSearch(`${runLink(id)}/${encodeURIComponent(stage)}/${row}`, parameters);
}

export function compareLink(ids: readonly string[]): string {
  return withSearch("#/compare", new URLSearchParams(ids.map((id) => ["id", id])));
}
