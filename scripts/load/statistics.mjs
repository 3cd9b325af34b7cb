// What was measured: response times by operation, refusals, failures and wrong answers.
import { Histogram } from './histogram.mjs';

const PERCENTS = [50, 90, 99, 99.9];
const SHOWN_WRONG = 10;

/** Counts of a run, as lines while it runs and as a summary. */
export class Statistics {
  /** How late requests of an open loop were sent: time that the generator itself adds. */
  lateness = new Histogram();
  wrong = [];
  wrongCount = 0;
  failed = 0;
  refused = 0;
  #operations = new Map();
  #statuses = new Map();
  #second = new Histogram();
  #startedMs = performance.now();
  #endedMs;

  /** An operation has had its answer, or its end without one (status 0), after `ms`. */
  note(name, status, ms) {
    const operation = this.#operationOf(name);
    operation.times.add(ms);
    this.#second.add(ms);
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  noteRefused(name) {
    this.refused += 1;
    this.#operationOf(name).refused += 1;
  }

  noteFailed(name, message) {
    this.failed += 1;
    this.#operationOf(name).failed += 1;
    this.lastFailure = message;
  }

  noteWrong(name, request, message) {
    this.wrongCount += 1;
    this.#operationOf(name).wrong += 1;
    if (this.wrong.length < SHOWN_WRONG) this.wrong.push({ operation: name, request, message });
  }

  end() {
    this.#endedMs ??= performance.now();
  }

  get total() {
    const all = new Histogram();
    for (const { times } of this.#operations.values()) all.merge(times);
    return all;
  }

  /** The line of the second that has passed. */
  nextLine() {
    const elapsed = Math.round((performance.now() - this.#startedMs) / 1000);
    const second = this.#second;
    this.#second = new Histogram();
    const times = PERCENTS.map((percent) => `p${percent} ${msText(second.percentile(percent))}`);
    const errors = `refused ${this.refused}  failed ${this.failed}  wrong ${this.wrongCount}`;
    return `${String(elapsed).padStart(4)} s ${String(second.count).padStart(7)}/s  ${times.join('  ')} ms  ${errors}`;
  }

  /** As data: times in milliseconds. */
  summary() {
    const seconds = ((this.#endedMs ?? performance.now()) - this.#startedMs) / 1000;
    const row = (name, { times, refused, failed, wrong }) => ({
      name,
      count: times.count,
      perSecond: times.count / seconds,
      ...Object.fromEntries(PERCENTS.map((percent) => [`p${percent}`, times.percentile(percent)])),
      max: times.max,
      refused,
      failed,
      wrong,
    });
    const { refused, failed, wrongCount: wrong } = this;
    return {
      seconds,
      operations: [...this.#operations].map(([name, operation]) => row(name, operation)),
      total: row('all', { times: this.total, refused, failed, wrong }),
      statuses: Object.fromEntries(this.#statuses),
      lateness: { p50: this.lateness.percentile(50), p99: this.lateness.percentile(99) },
      wrongAnswers: this.wrong,
      lastFailure: this.lastFailure,
    };
  }

  #operationOf(name) {
    let operation = this.#operations.get(name);
    if (operation === undefined) {
      operation = { times: new Histogram(), refused: 0, failed: 0, wrong: 0 };
      this.#operations.set(name, operation);
    }
    return operation;
  }
}

/** The summary as text. `recorded` are the response times of an access log, by operation. */
export function summaryText(summary, recorded = new Map()) {
  const rows = [...summary.operations, summary.total];
  const width = Math.max(...rows.map(({ name }) => name.length), 'operation'.length);
  const columns = [
    'count',
    '/s',
    ...PERCENTS.map((p) => `p${p}`),
    'max',
    'refused',
    'failed',
    'wrong',
  ];
  const head = `${'operation'.padEnd(width)} ${columns.map((name) => name.padStart(8)).join(' ')}`;
  const lines = rows.map((row) => {
    const times = [...PERCENTS.map((percent) => row[`p${percent}`]), row.max].map(msText);
    const { count, perSecond, refused, failed, wrong } = row;
    const cells = [count, perSecond.toFixed(1), ...times, refused, failed, wrong];
    const then = recorded.get(row.name);
    const note =
      then?.count > 0
        ? `  recorded: p50 ${msText(then.percentile(50))}, p99 ${msText(then.percentile(99))}`
        : '';
    return `${row.name.padEnd(width)} ${cells.map((cell) => String(cell).padStart(8)).join(' ')}${note}`;
  });
  const statuses = Object.entries(summary.statuses).map(([status, count]) =>
    status === '0' ? `${count} without an answer` : `${count} of ${status}`,
  );
  return [
    `Times in milliseconds, over ${summary.seconds.toFixed(1)} s:`,
    head,
    ...lines,
    `Statuses: ${statuses.join(', ') || 'none'}.`,
    ...(summary.lateness.p50 === undefined
      ? []
      : [
          `Requests were sent late by p50 ${msText(summary.lateness.p50)}, p99 ${msText(summary.lateness.p99)} ms, which the times include.`,
        ]),
    ...(summary.lastFailure === undefined ? [] : [`The last failure: ${summary.lastFailure}`]),
    ...summary.wrongAnswers.map(
      ({ operation, request, message }) => `WRONG ${operation}: ${request}\n      ${message}`,
    ),
    ...(summary.total.wrong > summary.wrongAnswers.length
      ? [`… and ${summary.total.wrong - summary.wrongAnswers.length} more wrong answers.`]
      : []),
  ].join('\n');
}

function msText(ms) {
  if (ms === undefined) return '-';
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}
