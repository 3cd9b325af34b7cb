/** The two paths of audit events. */
export const AUDIT_ROUTES = ['audit/events', 'performance/audit/events'];
