import { elementScroll, observeElementOffset, observeElementRect, Virtualizer, type VirtualizerOptions } from "@tanstack/virtual-core";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

/** Only the rows in sight of a list of any length; `ref` goes to the element that scrolls. */
export function useVirtual(size: number, rowHeight: number) {
  const ref = useRef<HTMLDivElement>(null);
  const [, redraw] = useReducer((tick: number, _: null) => tick + 1, 0);
  const options: VirtualizerOptions<HTMLDivElement, HTMLElement> = {
    count: size, estimateSize: () => rowHeight, overscan: 12, getScrollElement: () => ref.current,
    observeElementRect, observeElementOffset, scrollToFn: elementScroll, onChange: () => redraw(null),
  };
  const [list] = useState(() => new Virtualizer<HTMLDivElement, HTMLElement>(options));
  list.setOptions(options);
  useEffect(() => list._didMount(), []);
  useLayoutEffect(() => list._willUpdate());
  useLayoutEffect(() => list.measure(), [rowHeight]);
  return { ref, list };
}
