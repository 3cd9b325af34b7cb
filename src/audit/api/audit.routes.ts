/** Where the audit events live: two names for one thing. */
export const AUDIT_ROUTES = ['audit/events', 'performance/audit/events'];
