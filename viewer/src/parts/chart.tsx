import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { DASH, isNumber, number, percent, runningMean } from "../lib/format";
import { useThemeTick } from "../lib/hooks";

export interface Series {
  label: string;
  values: (number | null)[];
  /** Number of a colour of the style sheet, from 1. */
  color: number;
  /** Shaded, instead of the pale raw values. */
  band?: { low: (number | null)[]; high: (number | null)[] } | null;
  dash?: boolean;
}

export interface CurvesProps {
  title: string;
  unit: string;
  about?: string;
  x: number[];
  xLabel?: string;
  series: Series[];
  percent?: boolean;
  log?: boolean;
  range?: [number | null, number | null];
  raw?: boolean;
  /** Shares of a whole, drawn on top of each other. */
  stacked?: boolean;
  /** Charts with the same name move their cursors together. */
  sync?: string;
  height?: number;
}

/** Width of the running mean, as a share of all updates. */
const SMOOTHING = 0.08;

export function Curves(props: CurvesProps) {
  const { title, unit, about, x, series, height = 190 } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const theme = useThemeTick();
  const drawn = useMemo(() => prepare(props), [x, series, props.raw, props.stacked]);
  const shape = JSON.stringify([series.map((one) => [one.label, one.color, Boolean(one.band), one.dash]), props.percent, props.log, props.range, props.raw, props.stacked, height]);

  useEffect(() => {
    const parent = box.current!;
    const made = new uPlot(
      options(props, drawn, parent, (index) => setAt(index)), drawn.data as uPlot.AlignedData, parent,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (parent.clientWidth > 0) made.setSize({ width: parent.clientWidth, height });
    });
    observer.observe(parent);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, theme]);

  useEffect(() => {
    plot.current?.setData(drawn.data as uPlot.AlignedData);
  }, [drawn]);

  const shownAt = at !== null && at < x.length ? at : null;
  const show = (value: number | null | undefined) => (props.percent ? percent(value) : number(value));
  const last = (values: (number | null)[]) => values.findLast(isNumber) ?? null;
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || plot.current === null) return;
    event.preventDefault();
    const next = Math.min(x.length - 1, Math.max(0, (shownAt ?? x.length - 1) + step));
    plot.current.setCursor({ left: plot.current.valToPos(x[next]!, "x"), top: plot.current.height / 3 });
  };
  return (
    <figure class="chart">
      <figcaption title={about}>
        <span class="name"><b>{title}</b> <span class="unit">{unit}</span></span>
        <span class="at">{x.length === 0 ? DASH : `${props.xLabel ?? "update"} ${x[shownAt ?? x.length - 1]}`}</span>
      </figcaption>
      <div class="plot" ref={box} tabIndex={0} role="img" onKeyDown={move}
        aria-label={`${title}, ${unit}. Last: ${series.map((one) => `${one.label} ${show(last(one.values))}`).join(", ")}`} />
      <ul class="legend">
        {series.map((one) => (
          <li key={one.label}>
            <i class={`c${one.color}${one.dash ? " dash" : ""}`} aria-hidden="true" />
            <span>{one.label}</span> <b>{shownAt === null ? show(last(one.values)) : show(one.values[shownAt])}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

interface Drawn {
  data: (number[] | (number | null)[])[];
  /** Of each column but x: which series, and what part of it. */
  parts: { series: number; part: "line" | "raw" | "low" | "high" }[];
}

function prepare({ x, series, raw, stacked }: CurvesProps): Drawn {
  const drawn: Drawn = { data: [x], parts: [] };
  const add = (index: number, part: Drawn["parts"][number]["part"], values: (number | null)[]) => {
    drawn.parts.push({ series: index, part });
    drawn.data.push(values);
  };
  if (stacked) {
    let sums: number[] = x.map(() => 0);
    const tops = series.map((one) => (sums = sums.map((sum, i) => sum + (one.values[i] ?? 0))));
    // The highest first: each next one covers what is below it.
    for (let i = series.length - 1; i >= 0; i--) add(i, "line", tops[i]!);
    return drawn;
  }
  // Areas first, so that no line is covered.
  series.forEach((one, index) => {
    if (!one.band) return;
    add(index, "high", one.band.high);
    add(index, "low", one.band.low);
  });
  series.forEach((one, index) => {
    const known = one.values.filter(isNumber).length;
    const window = Math.max(1, Math.round(SMOOTHING * known));
    if (one.band || raw || known < 8) {
      add(index, "line", one.values);
    } else {
      add(index, "raw", one.values);
      add(index, "line", runningMean(one.values, window));
    }
  });
  return drawn;
}

function options(props: CurvesProps, drawn: Drawn, parent: HTMLElement, onCursor: (index: number | null) => void): uPlot.Options {
  const color = (name: string) => cssColor(parent, name);
  const axis: uPlot.Axis = {
    stroke: color("--dim"), font: "11px system-ui, sans-serif",
    grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false },
  };
  const bands: uPlot.Band[] = [];
  const lines: uPlot.Series[] = drawn.parts.map(({ series, part }, i) => {
    const one = props.series[series]!;
    const stroke = color(`--c${one.color}`);
    if (part === "high") bands.push({ series: [i + 1, i + 2], fill: color(`--c${one.color}-pale`) });
    const few = one.values.filter(isNumber).length < 2;
    return {
      label: one.label, spanGaps: true, points: { show: part === "line" && few, size: 6, fill: stroke },
      stroke: part === "line" ? stroke : part === "raw" ? color(`--c${one.color}-pale`) : "transparent",
      width: part === "line" ? (props.stacked ? 0.5 : 1.8) : part === "raw" ? 1 : 0,
      ...(props.stacked ? { fill: stroke } : {}), ...(one.dash ? { dash: [6, 4] } : {}),
    };
  });
  const [low, high] = props.range ?? [null, null];
  const text = (value: number) => (props.percent ? `${Number((100 * value).toFixed(2))}` : number(value));
  return {
    width: Math.max(200, parent.clientWidth), height: props.height ?? 190,
    padding: [8, 14, 0, 0],
    scales: {
      x: { time: false, range: (_, from, to) => (from === to ? [from - 1, to + 1] : [from, to]) },
      y: {
        distr: props.log ? 3 : 1,
        ...(props.log ? {} : {
          range: (_: uPlot, lowest: number, highest: number): uPlot.Range.MinMax => {
            if (props.stacked) return [0, 1];
            const [from, to] = props.series.some((one) => one.band) ? ofLines(props.series, lowest, highest) : [lowest, highest];
            const space = 0.06 * (to - from || Math.abs(to) || 1);
            return [
              low === null ? from - space : low < 0 ? Math.max(low, from - space) : low,
              high === null ? to + space : Math.min(high, to + space),
            ];
          },
        }),
      },
    },
    legend: { show: false },
    cursor: {
      ...(props.sync ? { sync: { key: props.sync } } : {}), points: { show: !props.stacked, size: 6 },
      drag: { x: true, y: false },
    },
    axes: [
      { ...axis, size: 28, gap: 4 },
      {
        ...axis, size: 48, gap: 4,
        values: (_, ticks) => ticks.map((value) => (value === null ? "" : props.log && !/^1(e|0*$)|^0\.0*1$/.test(String(value)) ? "" : text(value))),
      },
    ],
    series: [{ label: props.xLabel ?? "update" }, ...lines],
    bands,
    hooks: { setCursor: [(u) => onCursor(u.cursor.idx ?? null)] },
  };
}

/** Intervals of two or three seeds are so wide that the curves would be flat: they may be cut off. */
function ofLines(series: Series[], lowest: number, highest: number): [number, number] {
  const values = series.flatMap((one) => one.values.filter(isNumber));
  if (values.length === 0) return [lowest, highest];
  const [from, to] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const space = 0.3 * (to - from || 1);
  return [Math.max(lowest, from - space), Math.min(highest, to + space)];
}

/** A colour of the style sheet as a canvas takes it, in the theme that is shown. */
export function cssColor(parent: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  parent.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
