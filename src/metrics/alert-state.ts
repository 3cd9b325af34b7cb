import { Injectable, Logger } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type Observable, Subject } from 'rxjs';
import { wallClockText } from '../platform/runtime/clocks';
import {
  ALERT_TYPES,
  type AlertSeverity,
  type AlertType,
  type PerformanceAlertDto,
} from './dto/responses.dto';
import { MetricRegistry } from './metrics.registry';
import { valuesOf } from './values-of';

/** `ok` is under the limit by a margin; `hysteresis` is neither, and changes nothing. */
export interface Finding {
  type: AlertType;
  level: 'ok' | 'hysteresis' | 'breach';
  severity: AlertSeverity;
  title: string;
  description: string;
  source: string;
  metadata: Record<string, unknown>;
  /** Consecutive breaches that raise the alert, and consecutive findings that end it. */
  raiseAfter: number;
  resolveAfter: number;
}

interface State {
  breaches: number;
  oks: number;
  /** Of the alert while it is active, else of the last finding. */
  severity?: AlertSeverity;
  alert?: PerformanceAlertDto;
}

const MAX_RESOLVED = 100;

/**
 * Active and past alerts, one active of each type: raised once, over only after several findings, so that a figure at
 * its limit does not make it flap.
 */
@Injectable()
export class AlertState {
  private readonly logger = new Logger('Alerts');
  private readonly states = new Map<AlertType, State>(
    ALERT_TYPES.map((type) => [type, { breaches: 0, oks: 0 }]),
  );
  private resolved: PerformanceAlertDto[] = [];
  private readonly raisedTotal = new Map<AlertType, number>(ALERT_TYPES.map((type) => [type, 0]));
  private readonly subject = new Subject<PerformanceAlertDto>();

  constructor(registry: MetricRegistry) {
    registry.gauge(
      'audit_alerts_active',
      'Alerts that are active, with the severity at the time of raising.',
      () =>
        [...this.states].flatMap(([type, { alert, severity }]) =>
          severity ? [{ labels: { type, severity }, value: alert ? 1 : 0 }] : [],
        ),
    );
    registry.counter('audit_alerts_raised_total', 'Alerts that were raised.', () =>
      [...this.raisedTotal].map(([type, value]) => ({ labels: { type }, value })),
    );
  }

  /** Each alert when raised, and again, with `resolvedAt`, when over. Never errors or completes. */
  changes(): Observable<PerformanceAlertDto> {
    return this.subject.asObservable();
  }

  active(): PerformanceAlertDto[] {
    return [...this.states.values()]
      .flatMap(({ alert }) => alert ?? [])
      .sort((a, b) => b.timestamp.localeCompare(a.timestamp));
  }

  /** As `changes`, from this call on, until the signal aborts. @throws AppError SLOW_CONSUMER. */
  follow(signal: AbortSignal): AsyncGenerator<PerformanceAlertDto> {
    return valuesOf(this.subject, signal);
  }

  /** Active ones, then up to a hundred past ones, each the newest first. */
  all(): PerformanceAlertDto[] {
    return [...this.active(), ...this.resolved];
  }

  apply(finding: Finding): void {
    const { type, level, raiseAfter, resolveAfter } = finding;
    const state = this.states.get(type);
    if (!state) return;
    state.breaches = level === 'breach' ? state.breaches + 1 : 0;
    state.oks = level === 'ok' ? state.oks + 1 : 0;
    if (!state.alert) state.severity = finding.severity;
    if (!state.alert && state.breaches >= raiseAfter) this.raise(state, finding);
    else if (state.alert && state.oks >= resolveAfter) this.resolve(state, state.alert);
  }

  private raise(state: State, finding: Finding): void {
    const { type, severity, title, description, source, metadata } = finding;
    const id = randomUUID();
    const timestamp = wallClockText();
    const alert = { id, severity, type, title, description, timestamp, source, metadata };
    state.alert = alert;
    this.raisedTotal.set(type, (this.raisedTotal.get(type) ?? 0) + 1);
    this.logger.warn(`${severity} ${type}: ${description} [${alert.id}]`);
    this.subject.next(alert);
  }

  private resolve(state: State, alert: PerformanceAlertDto): void {
    state.alert = undefined;
    const over = { ...alert, resolvedAt: wallClockText() };
    this.resolved = [over, ...this.resolved].slice(0, MAX_RESOLVED);
    this.logger.log(`${alert.type} is over. [${alert.id}]`);
    this.subject.next(over);
  }
}
