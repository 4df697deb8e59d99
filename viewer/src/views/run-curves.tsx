import { useMemo, useState } from "preact/hooks";
import { isNumber, plural } from "../lib/format";
import { numbers, type Metrics } from "../lib/metrics";
import { expand, PANEL_KEYS, PANELS } from "../lib/words";
import { Choice, Section, Select } from "../parts/basic";
import { Curves } from "../parts/chart";

const MAIN_PANELS = 9;

/** Such as the gap of fresh tokens where only the first batch has any: behind what is a curve. */
function isPoint(series: readonly { values: (number | null)[] }[]): boolean {
  return series.every((one) => one.values.filter(isNumber).length < 2);
}

/** All panels that have numbers in this run. */
export function MetricCurves({ metrics }: { metrics: Metrics }) {
  const [smooth, setSmooth] = useState<"mean" | "raw">("mean");
  const [all, setAll] = useState(false);
  const [other, setOther] = useState("");
  const { columns } = metrics;
  const x = useMemo(() => numbers(columns, "update").map((value, i) => value ?? i), [columns]);
  const known = useMemo(
    () => Object.keys(columns).filter((key) => numbers(columns, key).some(isNumber)),
    [columns],
  );
  const panels = useMemo(
    () => PANELS.map((panel) => ({
      ...panel,
      series: panel.curves.flatMap((curve) => expand(curve, known)).map((curve, i) => ({
        label: curve.label, values: numbers(columns, curve.key), color: curve.color ?? 1 + (i % 6),
      })),
    })).filter((panel) => panel.series.length > 0).sort((a, b) => Number(isPoint(a.series)) - Number(isPoint(b.series))),
    [columns, known],
  );
  const rest = known.filter((key) => key !== "update" && !PANEL_KEYS.some((panel) => panel === key || (panel.endsWith("*") && key.startsWith(panel.slice(0, -1)))));
  const otherValues = useMemo(() => (other === "" ? [] : numbers(columns, other)), [columns, other]);
  const shown = all ? panels : panels.slice(0, MAIN_PANELS);
  return (
    <Section id="curves" title="Curves" about="Each point is a batch of rollouts on training problems. Pale: each batch; line: running mean. Drag over a chart to zoom, press twice to zoom out."
      tools={<Choice label="Curves" value={smooth} options={[["mean", "Running mean"], ["raw", "Each batch"]]} onChange={setSmooth} />}>
      <div class="charts">
        {shown.map((panel) => (
          <Curves key={panel.title} title={panel.title} unit={panel.unit} about={panel.about} x={x} series={panel.series} sync="updates"
            percent={panel.percent ?? false} log={panel.log ?? false} raw={smooth === "raw" || (panel.raw ?? false)} {...(panel.range ? { range: panel.range } : {})} />
        ))}
        {all && other !== "" && (
          <Curves key={other} title={other} unit="" x={x} series={[{ label: other, values: otherValues, color: 1 }]} sync="updates" raw={smooth === "raw"} />
        )}
      </div>
      <div class="tools after">
        {panels.length > MAIN_PANELS && (
          <button type="button" onClick={() => setAll(!all)} aria-expanded={all}>
            {all ? "Fewer curves" : `${plural(panels.length - MAIN_PANELS, "more curve")}: ${panels.slice(MAIN_PANELS).map((panel) => panel.title.toLowerCase()).join(", ")}`}
          </button>
        )}
        {all && rest.length > 0 && (
          <Select label="Any other metric" value={other} options={[["", "choose"], ...rest.sort().map((key) => [key, key] as const)]} onChange={setOther} />
        )}
      </div>
    </Section>
  );
}
