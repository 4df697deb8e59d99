import { useMemo, useState } from "preact/hooks";
import type { Bin } from "../lib/api";
import { plural } from "../lib/format";
import type { Metrics } from "../lib/metrics";
import { Section, Select } from "../parts/basic";
import { Calibration, mergeBins } from "../parts/calibration";

/** Whether the critic's values are chances. */
export function Critic({ metrics }: { metrics: Metrics }) {
  const [part, setPart] = useState("last");
  const lines = useMemo(
    () => (metrics.columns["calibration"] ?? []).filter((bins): bins is Bin[] => Array.isArray(bins)),
    [metrics],
  );
  const chosen = useMemo(() => {
    const tenth = Math.max(1, Math.round(lines.length / 10));
    return part === "all" ? lines : part === "first" ? lines.slice(0, tenth) : lines.slice(-tenth);
  }, [lines, part]);
  const bins = useMemo(() => mergeBins(chosen), [chosen]);
  if (lines.length === 0) return null;
  return (
    <Section id="critic" title="Calibration of the critic"
      about="Turns by the value that the critic gave before it saw how they end: of each of ten bins the share whose episode was solved. On the diagonal the values are chances; the size of a point is how many turns."
      tools={<Select label="Batches" value={part} options={[["last", "last tenth"], ["first", "first tenth"], ["all", "all"]]} onChange={setPart} />}>
      <Calibration bins={bins} />
      <p class="dim">{plural(chosen.length, "batch", "batches")}</p>
    </Section>
  );
}
