/** Counts of the exports of this process since its start; `active` is of this moment. */
export interface ExportStatistics {
  active: number;
  /** Exports that the client has whole. */
  completed: number;
  /** Exports that broke off once they had begun: the client left or stalled, or the database failed. */
  aborted: number;
  /** Exports refused because too many ran. */
  refused: number;
  /** Rows and bytes (as they went out, compressed) of all of them, those under way included. */
  rows: number;
  bytes: number;
  /** How long those that are over took, together. */
  seconds: number;
}
