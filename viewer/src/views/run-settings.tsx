import { useState } from "preact/hooks";
import { plural, setting } from "../lib/format";
import { Marked, Section } from "../parts/basic";

export function Settings({ config, title = "Settings", about, id = "settings" }: { config: Record<string, unknown>; title?: string; about?: string; id?: string }) {
  const [search, setSearch] = useState("");
  const all = Object.entries(config);
  const rows = all.filter(([key, value]) => `${key} ${setting(value)}`.toLowerCase().includes(search.toLowerCase()));
  if (all.length === 0) return null;
  return (
    <Section id={id} title={title} about={about}
      tools={
        <label class="field"><span class="hidden">Search {title.toLowerCase()}</span>
          <input type="search" placeholder="Search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
      }>
      <details open={search !== ""}>
        <summary>{plural(rows.length, "line")}</summary>
        <div class="settings">
          {rows.slice(0, 500).map(([key, value]) => <div key={key}><code><Marked text={key} /></code><span><Marked text={setting(value)} /></span></div>)}
        </div>
        {rows.length > 500 && <p class="dim">and {rows.length - 500} more: search</p>}
      </details>
    </Section>
  );
}
