/** Texts whose results were too large for one message; the last ones. */
const large = new Set<string>();
const MOST_TEXTS = 256;

/** A row of VALUES has at least `(),` in the text: a shorter one gives fewer rows than any server's cap is likely to be. */
const SHORT_TEXT = 2_000;
const SMALL_VALUES = 100_000;

const RETURNING = /\breturning\b/i;
const FEW_ROWS = /^\s*insert\b(?![\s\S]*\bselect\b)[\s\S]*\bvalues\b/i;

/**
 * True for a text whose result was too large for one message before, and for a write whose rows may be too many: that is known only
 * when it is applied. An INSERT of a few rows, the most frequent of all, is not among them.
 */
export function mayBeLarge(text: string, values: readonly unknown[]): boolean {
  if (large.has(text)) return true;
  if (!RETURNING.test(text)) return false;
  return !(text.length <= SHORT_TEXT && FEW_ROWS.test(text) && sizeOf(values) <= SMALL_VALUES);
}

const WITHOUT_ROWS = /^\s*(?:insert|update|delete|merge|replace|create|alter|drop|truncate|comment|grant|revoke|do|lock|set)\b/i;

/** True unless it is certain that a statement returns no rows. */
export const mayReturnRows = (text: string): boolean => RETURNING.test(text) || !WITHOUT_ROWS.test(text);

/** Remembers a text whose result was too large. */
export function rememberLarge(text: string): void {
  if (large.size >= MOST_TEXTS) large.delete(large.values().next().value!);
  large.add(text);
}

// Of documents and lists it is not known without making their texts.
function sizeOf(values: readonly unknown[]): number {
  let size = 0;
  for (const value of values) {
    if (typeof value === 'string') size += value.length;
    else if (ArrayBuffer.isView(value)) size += value.byteLength;
    else if (typeof value === 'object' && value !== null && !(value instanceof Date)) return Infinity;
  }
  return size;
}
