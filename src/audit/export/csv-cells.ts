import { escapeLiteral } from 'pg';
import { CSV_DELIMITERS, type CsvDelimiter } from '../../streaming/export-format';
import type { EventField } from '../event/audit-event';
import { fieldInstantText } from '../event/audit.statements';

/** Code points of = + - @, tab, carriage return, line feed, and of the full-width = + - @ of some spreadsheets. */
const FORMULA_STARTS = [61, 43, 45, 64, 9, 13, 10, 0xff1d, 0xff0b, 0xff0d, 0xff20].join(', ');
const FORMULA_CLASS = '=+@\uff1d\uff0b\uff0d\uff20-';

/** SQL of a field's CSV cell; unless `isRawCsv`, no cell is a formula to a spreadsheet. */
export function csvCell(
  field: EventField,
  { isRawCsv, delimiter }: { isRawCsv: boolean; delimiter: CsvDelimiter },
): string {
  const { column, type, words } = field;
  const cell = `e.${column}`;
  if (type === 'timestamptz') return fieldInstantText(field);
  if (isRawCsv || words) return cell;
  const chosen = CSV_DELIMITERS[delimiter];
  const others = Object.values(CSV_DELIMITERS).filter((separator) => separator !== chosen);
  if (type === 'json') return neutralizedJson(cell, others);
  return type === 'text' ? neutralized(cell, others) : cell;
}

/**
 * Prefixes an apostrophe to cells that look like a formula (OWASP, CSV injection). ascii() is a code point in UTF-8. A
 * reader with another separator does not see the quotes around a cell, and splits it: text that looks like a formula
 * behind such a separator, or behind a line break, gets an apostrophe too. A formula behind apostrophes gets one more:
 * the import removes one and has the value (import/csv-records.ts).
 */
function neutralized(cell: string, separators: readonly string[]): string {
  const within = [...separators, '\r', '\n'];
  const pattern = sql(`([${within.join('')}]"*'*)(?=[${FORMULA_CLASS}])`);
  const inside = `CASE WHEN ${holdsAny(cell, within)} THEN regexp_replace(${cell}, ${pattern}, ${sql(`\\1'`)}, 'g') ELSE ${cell} END`;
  const first = `ascii(ltrim(${cell}, ''''))`;
  return `CASE WHEN ${first} IN (${FORMULA_STARTS}) THEN '''' ELSE '' END || ${inside}`;
}

/** A minus that begins no number of JSON: numbers are no formulas. */
const NO_NUMBER = String.raw`-(?!\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[]},])`;

/** As `neutralized` for JSON text, whose value stays the same: an escape or a space breaks a possible formula. */
function neutralizedJson(column: string, separators: readonly string[]): string {
  const text = `${column}::text`; // begins with {, and has no tab and no line break
  const found = holdsAny(
    text,
    separators.filter((separator) => separator !== '\t'),
  );
  let escaped = text;
  if (separators.includes(';')) {
    escaped = `regexp_replace(${escaped}, ${sql(`;(?=[${FORMULA_CLASS}])`)}, ${sql('\\\\u003b')}, 'g')`;
  }
  if (separators.includes(',')) {
    const inText = sql(`,(?=[${FORMULA_CLASS.slice(0, -1)}]|${NO_NUMBER})`);
    const atStart = sql(`,"(?=[${FORMULA_CLASS}])`);
    escaped = `regexp_replace(${escaped}, ${inText}, ${sql('\\\\u002c')}, 'g')`;
    escaped = `regexp_replace(${escaped}, ${atStart}, ${sql(', "')}, 'g')`;
  }
  return `CASE WHEN ${found} THEN ${escaped} ELSE ${text} END`;
}

/** Tests for separators; cheaper than a regular expression for the cells that hold none. */
function holdsAny(cell: string, separators: readonly string[]): string {
  return `(${separators.map((separator) => `strpos(${cell}, ${sql(separator)})`).join(' + ')}) > 0`;
}

function sql(text: string): string {
  return escapeLiteral(text);
}
