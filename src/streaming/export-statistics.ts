/** Counts of the exports of this process since its start; `active` is of this moment. */
export interface ExportStatistics {
  active: number;
  /** Exports that the client has whole. */
  completed: number;
  /** Exports that broke off: the client left or stalled, or the database failed once something had been sent. */
  aborted: number;
  /** Exports that were answered with an error: the database failed before anything had been sent. */
  failed: number;
  /** Exports refused because too many ran. */
  refused: number;
  /** Rows and bytes (as they went out, compressed) of all of them, those under way included. */
  rows: number;
  bytes: number;
  /** How long those that are over took, together. */
  seconds: number;
}
