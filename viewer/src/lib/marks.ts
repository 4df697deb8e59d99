/** Characters that a reader would not see, or that would change how others are shown, as marks. */

export type Piece = { text: string; mark?: undefined } | { mark: string; name: string };

const NAMES: Record<number, [string, string]> = {
  0x7f: ["␡", "delete"],
  0xad: ["SHY", "soft hyphen"],
  0x61c: ["ALM", "Arabic letter mark"],
  0x180e: ["MVS", "Mongolian vowel separator"],
  0x200b: ["ZWSP", "zero-width space"],
  0x200c: ["ZWNJ", "zero-width non-joiner"],
  0x200d: ["ZWJ", "zero-width joiner"],
  0x200e: ["LRM", "left-to-right mark"],
  0x200f: ["RLM", "right-to-left mark"],
  0x2028: ["LS", "line separator"],
  0x2029: ["PS", "paragraph separator"],
  0x202a: ["LRE", "left-to-right embedding"],
  0x202b: ["RLE", "right-to-left embedding"],
  0x202c: ["PDF", "pop directional formatting"],
  0x202d: ["LRO", "left-to-right override"],
  0x202e: ["RLO", "right-to-left override"],
  0x2060: ["WJ", "word joiner"],
  0x2066: ["LRI", "left-to-right isolate"],
  0x2067: ["RLI", "right-to-left isolate"],
  0x2068: ["FSI", "first strong isolate"],
  0x2069: ["PDI", "pop directional isolate"],
  0xfeff: ["BOM", "byte order mark"],
};

// All but tab and line feed of the controls; format characters; lone surrogates; tags and the
// second block of variation selectors, which can hide whole messages.
const ODD =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\p{Cs}\u{e0000}-\u{e0fff}]/u;
const EACH_ODD = new RegExp(ODD.source, "gu");

export function hasMarks(text: string): boolean {
  return ODD.test(text);
}

/** Cuts a text into stretches shown as they are and marks; joined they are the whole text. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let shown = 0;
  for (const match of text.matchAll(EACH_ODD)) {
    if (match.index > shown) found.push({ text: text.slice(shown, match.index) });
    found.push(mark(match[0].codePointAt(0)!));
    shown = match.index + match[0].length;
  }
  if (shown < text.length) found.push({ text: text.slice(shown) });
  return found;
}

/** For places that take text only, such as titles. */
export function plainMarks(text: string): string {
  return pieces(text).map((piece) => (piece.mark === undefined ? piece.text : `⟨${piece.mark}⟩`)).join("");
}

function mark(code: number): Piece {
  const point = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  if (code < 0x20) return { mark: String.fromCharCode(0x2400 + code), name: `${point}, control character` };
  const known = NAMES[code];
  if (known !== undefined) return { mark: known[0], name: `${point}, ${known[1]}` };
  return { mark: point, name: `${point}, not shown` };
}
