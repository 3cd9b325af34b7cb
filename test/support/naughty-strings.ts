import { readFileSync } from 'node:fs';

/**
 * Strings that break careless code: quotes and escapes of SQL, JSON, LIKE and regular expressions, characters beyond the basic
 * plane, text without a case or with more than one, invisible and combining characters, numbers that are none. With
 * NAUGHTY_STRINGS=FILE also those of a file, a JSON list such as that of the Big List of Naughty Strings.
 */
export const NAUGHTY_STRINGS: readonly string[] = [
  'undefined', 'null', 'NULL', 'true', 'None', 'NaN', '-1', '1E02', '0x0', '00123', '1,000.00', '-0', '1/0', '9223372036854775808',
  "'", '"', "''", '\\', '\\\\', '%', '_', '%_%', '\\%', "'; DROP TABLE audit_event; --", '${7*7}', '{{7*7}}', '$$', '$1', '\\x01',
  '.*', '^$', '(', '[a-z', '(?i)', '\\d+', '*', '**', '!', '!!', '\\!', '\\*', 'a*b', ':', 'actor:alice', '-alice', 'a:b:c', '#', '?', '&q=1',
  '+', '%2C', '%00', 'a b', ' a', 'a ', '\ta', 'a\nb', 'a\r\nb', '\u0001', 'a\u0001b', '\u001f', '\u007f', '\u0085x', '\u00a0', '\u200b', '\ufeff', '\u202e', '\u2028',
  'Ω≈ç√∫', 'ЁЂЃ', 'ёђѓ', 'ΣΑΣ', 'σας', 'σασ', 'İstanbul', 'istanbul', 'ISTANBUL', 'ıI', 'ẞß', 'SS', 'ﬁ', 'FI', 'ǅ', 'ǆ', 'Å', 'A\u030a', 'å', 'Ⱥ', 'ⱥ',
  '社會科學院', '社會', 'パーティー', 'ﾊﾟｰﾃｨｰ', '和製漢語', '찦차를', 'مُنَاقَشَةُ', 'בְּרֵאשִׁית', '\u0930\u093e\u092e', '👍🏽', '👨‍👩‍👧', '🇩🇪🇫🇷', '𐐀', '𐐨', '𝒳𝓎𝓏', '\u{10ffff}', 'Z̮̞̠͙͔', '‪‪test‪',
  '<script>alert(1)</script>', '{"a":1}', '[1]', '{', '"quoted"', 'k"ey', 'a\\"b', 'a\\nb', 'a/b', '../../etc/passwd', 'C:\\temp\\new', '10.0.0.1', '::1', 'http://a/?b=c',
  ...others(),
]; // prettier-ignore

function others(): string[] {
  const file = process.env.NAUGHTY_STRINGS;
  return file === undefined ? [] : (JSON.parse(readFileSync(file, 'utf8')) as string[]);
}
