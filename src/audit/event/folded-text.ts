/**
 * Text for comparison without regard to case, as the function audit_fold of the database makes it: lower case by Unicode's rules for
 * no language, and one small sigma, as lower case depends on what follows it.
 */
export function fold(text: string): string {
  return text.toLowerCase().replaceAll('ς', 'σ');
}
